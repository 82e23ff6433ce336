import assert from "node:assert/strict";
import { test } from "node:test";
import { parsePlace, placeText, pointed, wrapped } from "../places.ts";

const BEIJING = { lon: 116.4, lat: 39.9 };

for (const text of [
  "116.4, 39.9",
  "116.4 39.9",
  "  +116.4;39.90 ",
  "39.9 N, 116.4 E",
  "39.9n 116.4e",
  "N 39.9 E 116.4",
  "116.4° E, 39.9° N",
  "39°54′ N, 116°24′ E",
  `39°54'00"N 116°24'0"E`,
  "-243.6, 39.9",
]) {
  test(`reads ${text}`, () => assert.deepEqual(parsePlace(text), BEIJING));
}

test("south and west are negative, also of a zero degree", () => {
  assert.deepEqual(parsePlace("0°30' S, 78.5 W"), { lon: -78.5, lat: -0.5 });
  assert.deepEqual(parsePlace("−78.5, −0.5"), { lon: -78.5, lat: -0.5 });
  assert.deepEqual(parsePlace("-0°30' , -0.5"), { lon: -0.5, lat: -0.5 });
});

for (const [text, reason] of [
  ["", /two numbers/],
  ["116.4", /two numbers/],
  ["1, 2, 3", /two numbers/],
  ["Beijing", /two numbers/],
  ["116.4, 39.9 north", /two numbers/],
  ["39.9, 116.4", /Longitude comes first/],
  ["120, 95", /latitude of 95/],
  ["400, 10", /longitude of 400/],
  ["10 N, 20 N", /same direction/],
] as const) {
  test(`refuses ${JSON.stringify(text)}`, () => assert.throws(() => parsePlace(text), reason));
}

test("longitudes wrap into [-180, 180)", () => {
  for (const [given, expected] of [[180, -180], [-180, -180], [190, -170], [-541, 179], [0, 0], [720, 0]] as const) {
    assert.equal(wrapped(given), expected);
  }
});

test("a place is written with the digits that matter, and read back", () => {
  assert.equal(placeText({ lon: -78.46789, lat: -0.18001 }, 1), "0.2° S, 78.5° W");
  assert.deepEqual(parsePlace(placeText({ lon: -78.4679, lat: -0.18 })), { lon: -78.4679, lat: -0.18 });
});

test("a place pointed at is as exact as a pixel, at any zoom", () => {
  for (let zoom = 0; zoom <= 14; zoom++) {
    const pixel = 360 / 512 / 2 ** zoom;
    const { lon, lat } = pointed({ lng: 476.43219, lat: 39.91237 }, zoom);
    assert.ok(Math.abs(lon - 116.43219) < pixel && Math.abs(lat - 39.91237) < pixel, `zoom ${zoom}`);
  }
});
