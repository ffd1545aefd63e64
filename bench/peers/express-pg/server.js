// The same read as GET /profile/{userId}: one prepared statement by primary key, the same JSON, a strong ETag, one process.
// Tuned as its users would tune it: NODE_ENV=production, named prepared statement, pool of 10, Unix socket.
const express = require("express");
const { Pool } = require("pg");

const pool = new Pool({ host: process.env.PGHOST, user: process.env.PGUSER, database: "users", max: 10 });
const app = express();
app.disable("x-powered-by");
app.set("etag", "strong");

const SQL = `SELECT id, handle, display_name, bio, avatar, banner, location, website, fields, followers, following, posts, created_at
  FROM people WHERE id = $1 AND hidden_at IS NULL`;

app.get("/profile/:userId", async (request, response) => {
  const { rows } = await pool.query({ name: "profile", text: SQL, values: [request.params.userId] });
  if (rows.length === 0) return response.status(404).json({ code: "not_found" });
  const person = rows[0];
  response.json({
    id: person.id,
    handle: person.handle,
    display_name: person.display_name,
    bio: person.bio,
    fields: person.fields,
    counts: { followers: person.followers, following: person.following, posts: person.posts },
    created_at: person.created_at,
    avatar: person.avatar ?? undefined,
    banner: person.banner ?? undefined,
    location: person.location ?? undefined,
    website: person.website ?? undefined,
  });
});

app.listen(Number(process.env.PORT), "127.0.0.1");
