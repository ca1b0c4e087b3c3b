// A file system in memory, as a mount's source. Its files say how often they were opened.

const TEXTS = { "/a.txt": "the first", "/sub/index.html": "<p>sub" };
const opened = new Map();

export default {
  async open(path) {
    opened.set(path, (opened.get(path) ?? 0) + 1);
    if (path === "/sub") return "folder";
    if (path === "/broken.txt")
      return { size: 5, modified: 0, etag: "b", read: () => new Uint8Array(4) };
    if (path === "/wrong.txt")
      return { size: -1, modified: 0, etag: "b", read: () => new Uint8Array(4) };
    if (path === "/thrown.txt") throw new Error("the disk is gone");
    if (path === "/busy.txt") throw Object.assign(new Error("too many"), { code: "EMFILE" });
    const text = path === "/opened" ? JSON.stringify([...opened]) : TEXTS[path];
    if (text === undefined) return undefined;
    const bytes = new TextEncoder().encode(text);
    return {
      size: bytes.length,
      modified: 1e12,
      etag: `${bytes.length}`,
      read: (start, end) => bytes.subarray(start, end),
    };
  },
};
