import assert from "node:assert/strict";
import { test } from "node:test";
import { actionOf, placesAfter } from "../actions.ts";
import { INITIAL } from "../state.ts";

const [HERE, THERE, ELSEWHERE] = [{ lon: 1, lat: 2 }, { lon: 3, lat: 4 }, { lon: 5, lat: 6 }];
const STATE = { ...INITIAL, references: [HERE, THERE], negatives: [ELSEWHERE] };
const NO_KEYS = { shiftKey: false, ctrlKey: false, metaKey: false };

test("keys held come before what was chosen, Shift first", () => {
  assert.equal(actionOf(NO_KEYS, "read"), "read");
  assert.equal(actionOf({ ...NO_KEYS, shiftKey: true, ctrlKey: true }, "read"), "unlike");
  assert.equal(actionOf({ ...NO_KEYS, metaKey: true }, "set"), "add");
});

test("a place set is the one reference, and what is unlike stays", () => {
  const place = { lon: 7, lat: 8 };
  assert.deepEqual(placesAfter(STATE, "set", place), { references: [place], negatives: [ELSEWHERE] });
});

test("a place is there once, and on one side", () => {
  assert.deepEqual(placesAfter(STATE, "add", { ...HERE }), { references: [THERE, HERE], negatives: [ELSEWHERE] });
  assert.deepEqual(placesAfter(STATE, "add", ELSEWHERE), { references: [HERE, THERE, ELSEWHERE], negatives: [] });
  assert.deepEqual(placesAfter(STATE, "unlike", HERE), { references: [THERE], negatives: [ELSEWHERE, HERE] });
  assert.equal(placesAfter(STATE, "read", HERE), null);
});
