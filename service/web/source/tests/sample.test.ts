import assert from "node:assert/strict";
import { test } from "node:test";
import { SAMPLE, sampleOf } from "../sample.ts";

test("a sample lies in the view, has no place twice, and is the same for the same view", () => {
  const view = { west: 100, south: -20, east: 140, north: 60 };
  const places = sampleOf(view);
  assert.equal(places.length, SAMPLE);
  assert.ok(places.every(({ lon, lat }) => lon >= 100 && lon <= 140 && lat >= -20 && lat <= 60));
  assert.equal(new Set(places.map(({ lon, lat }) => `${lon},${lat}`)).size, SAMPLE);
  assert.deepEqual(sampleOf(view), places);
});

test("over the antimeridian it lies on both sides, and of more than the world it is of the world once", () => {
  const places = sampleOf({ west: 170, south: -10, east: 200, north: 10 });
  assert.ok(places.every(({ lon }) => lon >= 170 || lon <= -160));
  assert.ok(places.some(({ lon }) => lon >= 170) && places.some(({ lon }) => lon < 0));
  const world = sampleOf({ west: -400, south: -95, east: 400, north: 95 });
  assert.ok(world.every(({ lon, lat }) => lon >= -180 && lon <= 180 && Math.abs(lat) <= 90));
});

test("as many places are on one half of the globe's surface as on the other", () => {
  const near = sampleOf({ west: -180, south: -90, east: 180, north: 90 }).filter(({ lat }) => Math.abs(lat) < 30);
  assert.ok(Math.abs(near.length / SAMPLE - 0.5) < 0.03);
});
