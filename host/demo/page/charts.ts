// The charts: lines over the last minute, a cell for each core, and the ring. Each call draws a complete canvas.

import type { Moment } from "../message.js";
import { type Scale, axis } from "./units.js";

/** Time span of a chart in ms. */
export const SPAN = 60000;
/** Time in ms without a message that interrupts a line. */
const GAP = 1500;
const FONT = "12px system-ui, sans-serif";
/** Space for the labels at the right and at the bottom, in px. */
const RIGHT = 64;
const BELOW = 18;

/** Values that a line can show. */
type Line = Exclude<keyof Moment, "time" | "cpu">;

type Box = readonly [x: number, y: number, width: number, height: number];

export interface Chart {
  /** Names of the lines. The first one is filled. */
  readonly lines: readonly Line[];
  readonly scale: Scale;
  /** Minimum for the end of the axis, which grows with the values. */
  readonly least: number;
}

const NAMES = ["bg", "ink", "muted", "line", "soft", "a", "b", "fill", "bad"] as const;
const color = {} as Record<(typeof NAMES)[number], string>;

/** Reads the colours of the theme. */
export function readColors(): void {
  const probe = document.body.appendChild(document.createElement("i"));
  for (const name of NAMES) {
    probe.style.color = `var(--${name})`;
    color[name] = getComputedStyle(probe).color;
  }
  probe.remove();
}

/** Prepares a canvas: fits its size to the layout and clears it. */
function begin(canvas: HTMLCanvasElement): [CanvasRenderingContext2D, number, number] {
  const { clientWidth: w, clientHeight: h } = canvas;
  const d = devicePixelRatio;
  const pw = Math.round(w * d);
  const ph = Math.round(h * d);
  // Setting a size would allocate a new bitmap, even if the size is the same.
  if (canvas.width !== pw) canvas.width = pw;
  if (canvas.height !== ph) canvas.height = ph;
  const c = canvas.getContext("2d") as CanvasRenderingContext2D;
  c.setTransform(d, 0, 0, d, 0, 0);
  c.clearRect(0, 0, w, h);
  c.lineJoin = "round";
  c.font = FONT;
  return [c, w, h];
}

/** Draws one line into a box. Unknown values and long silences interrupt it. */
function line(
  c: CanvasRenderingContext2D,
  rows: readonly Moment[],
  value: (row: Moment) => number | undefined,
  [x, y, w, h]: Box,
  top: number,
  stroke: string,
  fill?: string,
): void {
  const end = rows.at(-1)?.time ?? 0;
  // Draws at most two points per pixel.
  const step = Math.max(1, Math.floor(rows.length / (2 * w)));
  let path: [number, number][] = [];
  let before = 0;
  const finish = (): void => {
    const [first] = path;
    const last = path.at(-1);
    if (!first || !last) return;
    c.beginPath();
    for (const [px, py] of path) c.lineTo(px, py);
    c.stroke();
    if (fill) {
      c.lineTo(last[0], y + h);
      c.lineTo(first[0], y + h);
      c.fillStyle = fill;
      c.fill();
    }
    path = [];
  };
  c.strokeStyle = stroke;
  c.lineWidth = 1.5;
  for (let i = (rows.length - 1) % step; i < rows.length; i += step) {
    const row = rows[i] as Moment;
    const v = value(row);
    if (v === undefined || row.time - before > GAP) finish();
    if (v === undefined) continue;
    path.push([x + w * (1 - (end - row.time) / SPAN), y + h * (1 - Math.min(1, v / top))]);
    before = row.time;
  }
  finish();
}

/** Labels the ends of the time axis. */
function timeAxis(c: CanvasRenderingContext2D, w: number, h: number): void {
  c.fillStyle = color.muted;
  c.textBaseline = "bottom";
  c.textAlign = "left";
  c.fillText("60 s ago", 0, h);
  c.textAlign = "right";
  c.fillText("now", w, h);
}

/** Draws lines over time, with both axes. */
export function drawLines(canvas: HTMLCanvasElement, chart: Chart, rows: readonly Moment[]): void {
  const [c, width, height] = begin(canvas);
  const { lines, scale } = chart;
  let most = chart.least;
  for (const row of rows) for (const name of lines) most = Math.max(most, row[name] ?? 0);
  const { end, marks } = axis(most, scale);
  const y0 = 7;
  const w = width - RIGHT;
  const h = height - BELOW - y0 - 4;
  timeAxis(c, w, height);
  c.textAlign = "left";
  c.textBaseline = "middle";
  for (const [value, label] of marks) {
    const y = Math.round(y0 + h * (1 - value / end));
    c.fillStyle = value === 0 ? color.muted : color.line;
    c.fillRect(0, y, w, 1);
    c.fillStyle = color.muted;
    c.fillText(label, w + 8, y + 0.5);
  }
  c.save();
  c.beginPath();
  c.rect(0, 0, w, height);
  c.clip();
  lines.forEach((name, i) => {
    const stroke = i ? color.b : color.a;
    const box: Box = [0, y0 + 0.5, w, h];
    line(c, rows, (row) => row[name], box, end, stroke, i ? undefined : color.fill);
  });
  c.restore();
}

/** Returns the number of columns that makes cells wider than high and leaves no cell empty. */
function columnsFor(n: number, w: number, h: number): number {
  let columns = Math.max(1, Math.round(Math.sqrt((n * w) / h / 2.6)));
  while (n % columns) columns++;
  return columns;
}

/** Draws a cell for each core, with its history from 0 to 100 %. */
export function drawCores(canvas: HTMLCanvasElement, rows: readonly Moment[]): void {
  const [c, w, height] = begin(canvas);
  const cpu = rows.at(-1)?.cpu ?? [];
  const n = cpu.length;
  const h = height - BELOW;
  timeAxis(c, w, height);
  const space = n > 16 ? 4 : 8;
  const columns = columnsFor(n, w, h);
  const cw = (w + space) / columns - space;
  const ch = (h + space - 4) / Math.ceil(n / columns) - space;
  const isNamed = ch >= 34 && cw >= 72;
  cpu.forEach((v, i) => {
    const x = (i % columns) * (cw + space);
    const y = Math.floor(i / columns) * (ch + space);
    const head = isNamed ? 18 : 0;
    c.save();
    c.beginPath();
    c.rect(x, y, cw, ch);
    c.clip();
    c.fillStyle = color.soft;
    c.fillRect(x, y, cw, ch);
    line(c, rows, (row) => row.cpu[i], [x, y + head, cw, ch - head], 100, color.a, color.fill);
    c.restore();
    if (!isNamed) return;
    c.textBaseline = "top";
    c.textAlign = "left";
    c.fillStyle = color.muted;
    c.fillText(`${i}`, x + 6, y + 4);
    c.textAlign = "right";
    c.fillStyle = color.ink;
    c.fillText(`${Math.round(v)} %`, x + cw - 6, y + 4);
  });
}

/**
 * Draws the ring: a mark at the newest byte, and before it the part that the slowest client still needs.
 * @param head position of the mark, 0 … 1
 * @param used share of the ring in use, 0 … 1
 */
export function drawRing(canvas: HTMLCanvasElement, head: number, used: number): void {
  const [c, w, h] = begin(canvas);
  const r = Math.min(w, h) / 2 - 14;
  const full = 2 * Math.PI;
  c.translate(w / 2, h / 2);
  c.rotate(-full / 4);
  const arc = (from: number, to: number, width: number, stroke: string): void => {
    c.beginPath();
    c.arc(0, 0, r, from * full, to * full);
    c.lineWidth = width;
    c.strokeStyle = stroke;
    c.stroke();
  };
  arc(0, 1, 14, color.line);
  if (used > 0) arc(head - used, head, 14, used > 0.75 ? color.bad : color.a);
  // Draws a scale of 64 marks, like an instrument's; every fourth one is longer.
  for (let i = 0; i < 64; i++) {
    const angle = (i / 64) * full;
    const [x, y] = [Math.cos(angle), Math.sin(angle)];
    const out = i % 4 ? 12 : 14;
    c.beginPath();
    c.moveTo(x * (r + 10), y * (r + 10));
    c.lineTo(x * (r + out), y * (r + out));
    c.lineWidth = 1;
    c.strokeStyle = color.muted;
    c.stroke();
  }
  c.rotate(head * full);
  c.fillStyle = color.ink;
  c.fillRect(r - 11, -1.5, 22, 3);
}
