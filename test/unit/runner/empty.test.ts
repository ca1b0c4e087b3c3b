// It has no test.

export {};
