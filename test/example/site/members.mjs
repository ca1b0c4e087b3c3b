// The login in front of /members: a cookie that the server has signed, for an hour. The mount is internal, so its files
// are sent only by `res.pass`.
//
// PASSWORD is the one password of all members; KEY keeps cookies valid across restarts.

import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";

const { PASSWORD = randomBytes(16).toString("hex"), KEY = randomBytes(32).toString("hex") } =
  process.env;
const MAX_AGE = 3600;

const sign = (text) => createHmac("sha256", KEY).update(text).digest("base64url");

/** Compares texts in a time that says nothing about them. */
const isSame = (a, b) => timingSafeEqual(Buffer.from(sign(a)), Buffer.from(sign(b)));

/** Returns the name in a cookie of this server; undefined when it has none, or one that is false or over. */
function memberOf(req) {
  const [, value = ""] = /(?:^|;\s*)member=([^;]*)/.exec(req.header("cookie") ?? "") ?? [];
  const [name = "", end = "", signature = ""] = value.split(".");
  const isValid = isSame(signature, sign(`${name}.${end}`)) && Number(end) > Date.now();
  return isValid ? decodeURIComponent(name) : undefined;
}

function login(req, res) {
  const form = new URLSearchParams(req.text());
  const name = encodeURIComponent(form.get("name") ?? "").replaceAll(".", "%2E");
  if (name === "" || !isSame(form.get("password") ?? "", PASSWORD))
    return res.send(403, "text/plain", "The name or the password is wrong.\n");
  const text = `${name}.${Date.now() + MAX_AGE * 1000}`;
  const secure = req.secure ? "; Secure" : "";
  const cookie = `member=${text}.${sign(text)}; Max-Age=${MAX_AGE}; HttpOnly; SameSite=Lax; Path=/${secure}`;
  return res.header("Set-Cookie", cookie).header("Location", "/members/").send(303);
}

export default {
  request(req, res) {
    if (req.upgrade) return res.send(400, "text/plain", "Offer the subprotocol chat.\n");
    if (req.path === "/login" && req.method === "POST") return login(req, res);
    if (!/^\/members(\/|$)/.test(req.path)) return res.send(404);
    if (req.method !== "GET" && req.method !== "HEAD")
      return res.header("Allow", "GET, HEAD").send(405);
    if (memberOf(req) === undefined) return res.header("Location", "/login.html").send(303);
    return res.header("Cache-Control", "private, no-cache").pass(req.path);
  },
};
