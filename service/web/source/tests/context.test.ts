import assert from "node:assert/strict";
import { test } from "node:test";
import { contextText } from "../context.ts";

for (const [nearest_sample_km, land, text] of [
  [23.44, true, "On land, 23.4 km from a training sample"],
  [1234.5, false, "At sea, 1,235 km from a training sample"],
  [0, true, "On land, 0 km from a training sample"],
  [null, true, "On land"],
  [null, false, "At sea"],
] as const) {
  test(`a place ${land ? "on land" : "at sea"} at ${nearest_sample_km} km is written ${text}`, () => {
    assert.equal(contextText({ nearest_sample_km, land }), text);
  });
}
