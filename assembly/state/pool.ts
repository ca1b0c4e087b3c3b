// A pool of buffers of power-of-two sizes over one region: a buddy allocator. One pool has the receive buffers, another
// the reply blocks.
//
// Invariant: each unit of the region belongs to exactly one block, which is free, kept or taken. A block of order k
// starts at a multiple of 2^k units. No two buddies are both free. `used` is the number of bytes taken.
// Small blocks are kept at their size when they are freed, for the next caller that takes one. Joining them with their
// buddies, up to the whole region, and cutting them again would cost more than the work done with them. They are joined
// when a block of another size is wanted and none is free.
//
//   map    one byte a unit: at a block's first unit its order, | FREE when free, | KEPT when kept; elsewhere 0
//   links  8 bytes a unit: the list of free blocks of each order, doubly linked by unit number + 1; kept ones singly
//
// Nothing is written into a free block, so the bytes that an event points to stay readable until the block is taken
// again, and pages that were never used stay untouched.

const FREE: u8 = 0x80;
const KEPT: u8 = 0x40;
/** Number of orders whose blocks are kept: blocks of up to 4 KiB for replies, 8 KiB for input. */
const KEPT_ORDERS: u32 = 4;
/** Number of orders, 0 … 20: from a unit of 512 bytes up to half a gigabyte. */
const ORDERS: u32 = 21;
/** Link to no unit. Links are unit numbers + 1. */
const NIL: u32 = 0;

@unmanaged
export class Pool {
  base: usize;
  map: usize;
  links: usize;
  /** Size of a unit in bytes, as a shift. */
  shift: u32;
  /** Number of units in the region. */
  units: u32;
  /** Bytes in use. */
  used: u32;
  /** Most bytes that blocks larger than `small` may use together. The rest is reserved for small blocks. */
  largeLimit: u32;
  largeUsed: u32;
  /** Largest size in bytes of a small block. */
  small: u32;
}

/**
 * Size of a Pool record with its list heads, in bytes. The heads of the free lists come first, then those of the kept
 * blocks.
 */
export const POOL_BYTES: usize = 48 + ((ORDERS + KEPT_ORDERS) as usize) * 4;

function head(pool: Pool, order: u32): usize {
  return changetype<usize>(pool) + 48 + order * 4;
}

function keptHead(pool: Pool, order: u32): usize {
  return head(pool, ORDERS + order);
}

function unitOf(pool: Pool, block: usize): u32 {
  return ((block - pool.base) >> pool.shift) as u32;
}

function linkAt(pool: Pool, link: u32): usize {
  return pool.links + (((link - 1) as usize) << 3);
}

function push(pool: Pool, unit: u32, order: u32): void {
  const list = head(pool, order);
  const next = load<u32>(list);
  const own = linkAt(pool, unit + 1);
  store<u32>(own, next);
  store<u32>(own, NIL, 4);
  if (next != NIL) store<u32>(linkAt(pool, next), unit + 1, 4);
  store<u32>(list, unit + 1);
  store<u8>(pool.map + unit, (order as u8) | FREE);
}

function unlink(pool: Pool, unit: u32, order: u32): void {
  const own = linkAt(pool, unit + 1);
  const next = load<u32>(own);
  const prev = load<u32>(own, 4);
  if (prev != NIL) store<u32>(linkAt(pool, prev), next);
  else store<u32>(head(pool, order), next);
  if (next != NIL) store<u32>(linkAt(pool, next), prev, 4);
}

/**
 * Formats a pool.
 * @param base multiple of 16 @param links 9 bytes for each unit
 * @param bytes of the region @param shift log2 of a unit, ≥ 4
 * @param small largest small block in bytes; a quarter of the region is reserved for small blocks, or nothing when it
 * is 0
 */
export function formatPool(
  pool: Pool,
  base: usize,
  links: usize,
  bytes: u32,
  shift: u32,
  small: u32,
): void {
  pool.base = base;
  pool.links = links;
  pool.map = links + (((bytes >> shift) as usize) << 3);
  pool.shift = shift;
  pool.units = bytes >> shift;
  pool.used = 0;
  pool.small = small;
  pool.largeUsed = 0;
  pool.largeLimit = small == 0 ? bytes : bytes - (bytes >> 2);
  for (let list: u32 = 0; list < ORDERS + KEPT_ORDERS; list++) store<u32>(head(pool, list), NIL);
  memory.fill(pool.map, 0, pool.units);
  // The largest aligned blocks come first, so that the region need not be a power of two.
  let unit: u32 = 0;
  while (unit < pool.units) {
    let order: u32 = unit == 0 ? ORDERS - 1 : min<u32>(ctz(unit), ORDERS - 1);
    while (unit + (1 << order) > pool.units) order--;
    push(pool, unit, order);
    unit += 1 << order;
  }
}

/** Returns the smallest order whose blocks hold `bytes`. */
export function orderFor(pool: Pool, bytes: u32): u32 {
  const units = (bytes + (1 << pool.shift) - 1) >> pool.shift;
  return units <= 1 ? 0 : 32 - clz(units - 1);
}

/** Returns the size of a block of an order, in bytes. */
export function blockBytes(pool: Pool, order: u32): u32 {
  return 1 << (order + pool.shift);
}

/** Cuts a block of an order out of the free ones. Returns its unit + 1, or NIL when there is none. */
function cut(pool: Pool, order: u32): u32 {
  let from = order;
  while (from < ORDERS && load<u32>(head(pool, from)) == NIL) from++;
  if (from == ORDERS) return NIL;
  const unit = load<u32>(head(pool, from)) - 1;
  unlink(pool, unit, from);
  while (from > order) {
    from--;
    push(pool, unit + (1 << from), from);
  }
  return unit + 1;
}

/** Frees a block, joined with its free buddies. */
function join(pool: Pool, unit: u32, order: u32): void {
  while (order < ORDERS - 1) {
    const buddy = unit ^ (1 << order);
    if (buddy + (1 << order) > pool.units) break;
    // mutant pool-buddy: if ((load<u8>(pool.map + buddy) & 31) != (order as u8)) break;
    if (load<u8>(pool.map + buddy) != ((order as u8) | FREE)) break;
    unlink(pool, buddy, order);
    store<u8>(pool.map + max(unit, buddy), 0);
    unit = min(unit, buddy);
    order++;
  }
  push(pool, unit, order);
}

/** Takes the kept block of an order that was freed last. Returns its unit + 1, or NIL when there is none. */
function takeKept(pool: Pool, order: u32): u32 {
  if (order >= KEPT_ORDERS) return NIL;
  const list = keptHead(pool, order);
  const link = load<u32>(list);
  if (link != NIL) store<u32>(list, load<u32>(linkAt(pool, link)));
  return link;
}

/** Frees all kept blocks. */
function joinKept(pool: Pool): void {
  for (let order: u32 = 0; order < KEPT_ORDERS; order++) {
    for (let link = takeKept(pool, order); link != NIL; link = takeKept(pool, order)) {
      join(pool, link - 1, order);
    }
  }
}

/** Takes a block of an order. Returns its address, or 0 when there is none. */
export function take(pool: Pool, order: u32): usize {
  if (order >= ORDERS) return 0;
  const bytes = blockBytes(pool, order);
  const large = bytes > pool.small;
  if (large && pool.largeUsed + bytes > pool.largeLimit) return 0;
  let link = takeKept(pool, order);
  if (link == NIL) link = cut(pool, order);
  if (link == NIL) {
    joinKept(pool);
    link = cut(pool, order);
  }
  if (link == NIL) return 0;
  store<u8>(pool.map + link - 1, order as u8);
  pool.used += bytes;
  if (large) pool.largeUsed += bytes;
  return pool.base + (((link - 1) as usize) << pool.shift);
}

/** Frees a block. */
export function give(pool: Pool, block: usize, order: u32): void {
  const bytes = blockBytes(pool, order);
  const unit = unitOf(pool, block);
  assert(load<u8>(pool.map + unit) == (order as u8), "block given twice");
  pool.used -= bytes;
  if (bytes > pool.small) pool.largeUsed -= bytes;
  if (order >= KEPT_ORDERS) {
    join(pool, unit, order);
    return;
  }
  const list = keptHead(pool, order);
  store<u32>(linkAt(pool, unit + 1), load<u32>(list));
  store<u32>(list, unit + 1);
  store<u8>(pool.map + unit, (order as u8) | KEPT);
}
