// Points in squares, so that looking around a place looks at few of them.

const SQUARES = 64;

const square = (value) => Math.min(SQUARES - 1, Math.max(0, Math.floor(value * SQUARES)));

export class Grid {
  /** `x` and `y` of points in the unit square. */
  constructor(x, y) {
    this.squares = new Map();
    x.forEach((each, n) => {
      const key = square(each) * SQUARES + square(y[n]);
      if (!this.squares.has(key)) this.squares.set(key, []);
      this.squares.get(key).push(n);
    });
  }

  /** Numbers of the points in the squares that a box around (x, y) touches. */
  *around(x, y, reach) {
    for (let column = square(x - reach); column <= square(x + reach); column += 1) {
      for (let row = square(y - reach); row <= square(y + reach); row += 1) yield* this.squares.get(column * SQUARES + row) ?? [];
    }
  }
}
