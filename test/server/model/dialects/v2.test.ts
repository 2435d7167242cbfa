/**
 * Every dialect and every case through the provider packages of specification v2. Owns nothing but the version.
 */
import { dialectSuite } from "./suite.ts";

dialectSuite("v2");
