// A cached profile as it is usually done: look into Redis, else load it and put it there for ten minutes; JSON and a strong ETag.
// Tuned as its users would tune it: NODE_ENV=production, one multiplexed connection over a Unix socket, no header that says Express.
const fs = require("node:fs");
const express = require("express");
const Redis = require("ioredis");

const LIFETIME = 600;
const redis = new Redis({ path: process.env.REDIS_SOCKET });
const profile = JSON.parse(fs.readFileSync(process.env.PROFILE, "utf8"));
const app = express();
app.disable("x-powered-by");
app.set("etag", "strong");

async function load() {
  return profile; // stands for the database: after the first request nothing comes here
}

app.get("/profile/:userId", async (request, response) => {
  const key = `profile:${request.params.userId}`;
  const kept = await redis.get(key);
  if (kept !== null) return response.json(JSON.parse(kept));
  const loaded = await load(request.params.userId);
  await redis.set(key, JSON.stringify(loaded), "EX", LIFETIME);
  response.json(loaded);
});

app.listen(Number(process.env.PORT), "127.0.0.1");
