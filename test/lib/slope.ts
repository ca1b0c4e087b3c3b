// The slope of a line through points, by least squares.

/** A value at a time. */
interface Point {
  readonly x: number;
  readonly y: number;
}

/**
 * Returns by how much y grows with each x, on average.
 * @returns 0 for points without extent @throws RangeError for fewer than two points
 */
export function slopeOf(points: readonly Point[]): number {
  if (points.length < 2) throw new RangeError(`${points.length} points have no slope`);
  const mean = (of: (point: Point) => number): number =>
    points.reduce((sum, point) => sum + of(point), 0) / points.length;
  const x = mean((point) => point.x);
  const y = mean((point) => point.y);
  const width = mean((point) => (point.x - x) ** 2);
  return width === 0 ? 0 : mean((point) => (point.x - x) * (point.y - y)) / width;
}
