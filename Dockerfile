# One Haulout node. Bound to all addresses of the container, so it needs tokens: HAULOUT_TOKEN (one with all rights), or
# `auth` in a configuration mounted at /app/haulout.json. Without either it refuses to start and says why.
#
#   docker build -t haulout . && docker run -e HAULOUT_TOKEN=… -p 127.0.0.1:4787:4787 -v haulout-data:/data haulout
#
# Language models need the packages of their providers: --build-arg PROVIDERS="@ai-sdk/openai @ai-sdk/anthropic"

FROM node:20-slim AS build
WORKDIR /app
COPY package.json package-lock.json ./
RUN npm ci
COPY tsconfig.json tsconfig.build.json ./
COPY test/support/build.mjs test/support/page.mjs ./test/support/
COPY protocol ./protocol/
COPY client ./client/
COPY server ./server/
RUN npm run build
ARG PROVIDERS=
# npm leaves out an optional peer even when it is named, so these sections go first. The rest stays as it is locked.
RUN npm pkg delete devDependencies peerDependencies peerDependenciesMeta && npm install $PROVIDERS

FROM node:20-slim
ENV NODE_ENV=production HAULOUT_HOST=0.0.0.0 HAULOUT_PORT=4787 HAULOUT_DATA=/data
WORKDIR /app
COPY LICENSE package.json ./
COPY --from=build /app/node_modules ./node_modules/
COPY --from=build /app/dist ./dist/
RUN mkdir -m 0700 /data && chown node:node /data
USER node
VOLUME /data
EXPOSE 4787
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["node", "-e", "fetch(`http://127.0.0.1:${process.env.HAULOUT_PORT}/readyz`).then((answer) => process.exit(answer.ok ? 0 : 1), () => process.exit(1))"]
# In exec form, so that SIGTERM reaches the server itself.
CMD ["node", "dist/server/main.js", "serve"]
