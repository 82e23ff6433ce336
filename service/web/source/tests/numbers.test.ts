import assert from "node:assert/strict";
import { test } from "node:test";
import { numberText } from "../numbers.ts";

for (const [value, text, even] of [
  [1, "1", "1.00"],
  [0.999999, "1", "1.00"],
  [-0.001, "0", "0.00"],
  [-0.254, "−0.25", "−0.25"],
  [9.996, "10", "10.0"],
  [-12.34, "−12.3", "−12.3"],
  [99.96, "100", "100"],
  [3120.4, "3,120", "3,120"],
] as const) {
  test(`${value} is written ${text}, or ${even} beside others`, () => {
    assert.equal(numberText(value), text);
    assert.equal(numberText(value, true), even);
  });
}
