// A test of it throws where nothing catches.

import { suite } from "uvu";

const it = suite("uncaught");

it("waits", () => {
  setTimeout(() => {
    throw new TypeError("late");
  });
  return new Promise<void>((resolve) => setTimeout(resolve, 60000));
});

it.run();
