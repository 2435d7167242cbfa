/**
 * Every dialect and every case through the provider packages of specification v4. Owns nothing but the version.
 */
import { dialectSuite } from "./suite.ts";

dialectSuite("v4");
