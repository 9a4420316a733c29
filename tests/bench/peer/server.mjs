// A plain webhook handler in Node: the six statements of "call ended", one after another, each a transaction of its own.
// It has no idempotency key that decides, no isolation of tenants and no retry: the peer of the webhook function.
import { timingSafeEqual } from "node:crypto";
import { createServer } from "node:http";
import { createRequire } from "node:module";

// The packages are installed under target/, not beside this file.
const { Pool } = createRequire(`${process.env.PEER_PACKAGES}/`)("pg");
const secret = Buffer.from(process.env.PEER_SECRET);
const pool = new Pool({ connectionString: process.env.PEER_DATABASE_URL, max: Number(process.env.PEER_CONNECTIONS) });

async function callEnded(message) {
  const id = message.call.id;
  const endedAt = new Date(message.timestamp);
  const call = (await pool.query("SELECT id, started_at FROM calls WHERE vapi_call_id = $1", [id])).rows[0];
  const agent = (
    await pool.query("SELECT id FROM agents WHERE vapi_assistant_id = $1", [message.call.assistantId])
  ).rows[0];
  const tracking = (await pool.query("SELECT id FROM call_tracking WHERE vapi_call_id = $1", [id])).rows[0];
  if (!tracking) {
    await pool.query(
      "INSERT INTO call_tracking (vapi_call_id, agent_id, phone_number, status) VALUES ($1, $2, $3, 'completed')",
      [id, agent?.id, message.customer?.number],
    );
  }
  const seconds = call ? Math.round((endedAt - call.started_at) / 1000) : null;
  await pool.query(
    `UPDATE call_logs SET status = 'completed', ended_at = $2, duration_seconds = $3, ended_reason = $4, agent_id = $5,
       updated_at = now() WHERE vapi_call_id = $1`,
    [id, endedAt, seconds, message.endedReason, agent?.id],
  );
  await pool.query(
    "UPDATE calls SET status = 'completed', duration_seconds = $2, updated_at = now() WHERE vapi_call_id = $1",
    [id, seconds],
  );
  await pool.query(
    "INSERT INTO processed_events (event_id, event_type) VALUES ($1, 'call-ended') ON CONFLICT (event_id) DO NOTHING",
    [`status-update:${id}:ended`],
  );
}

async function handle(request, response) {
  const sent = Buffer.from(request.headers["x-vapi-secret"] ?? "");
  if (sent.length !== secret.length || !timingSafeEqual(sent, secret)) {
    response.writeHead(401).end();
    return;
  }
  const pieces = [];
  for await (const piece of request) pieces.push(piece);
  await callEnded(JSON.parse(Buffer.concat(pieces).toString()).message);
  response.writeHead(200, { "content-type": "application/json" }).end("{}");
}

const server = createServer((request, response) => {
  handle(request, response).catch((error) => {
    console.error(error);
    response.writeHead(500).end();
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
