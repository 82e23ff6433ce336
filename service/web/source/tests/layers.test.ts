import assert from "node:assert/strict";
import { test } from "node:test";
import { bboxOf, legendPath, mapRequest, pointPath, shownBy, tilesPath } from "../layers.ts";
import { INITIAL, type State } from "../state.ts";

const SIMILARITY: State = {
  ...INITIAL,
  references: [{ lon: 116.4, lat: 39.9 }, { lon: 2, lat: 48 }],
  negatives: [{ lon: -60, lat: -3 }],
};

test("similarity names every place in what it asks for", () => {
  const shown = shownBy({ ...SIMILARITY, colormap: "magma", range: [-0.5, 1], model: "tiny" })!;
  const places = "reference=116.4,39.9&reference=2,48&negative=-60,-3";
  assert.equal(
    tilesPath(shown),
    `v1/similarity/tiles/WebMercatorQuad/{z}/{x}/{y}.png?${places}&colormap_name=magma&rescale=-0.5,1&model=tiny`,
  );
  assert.equal(legendPath(shown), `v1/similarity/legend.json?${places}&colormap_name=magma&rescale=-0.5,1&model=tiny`);
  assert.equal(pointPath(shown, { lon: 541.00001, lat: 5 }), `v1/similarity/point/-179,5?${places}&model=tiny`);
});

test("without a reference similarity shows nothing, and other layers need none", () => {
  assert.equal(shownBy({ ...INITIAL, layer: "similarity" }), null);
  const shown = shownBy({ ...SIMILARITY, layer: "predictions/elevation" })!;
  assert.equal(tilesPath(shown), "v1/predictions/elevation/tiles/WebMercatorQuad/{z}/{x}/{y}.png");
  assert.equal(pointPath(shownBy(INITIAL)!, { lon: 0, lat: 0 }), null);
});

test("a colour map and a scale are for what has one: not for the colours of embeddings, as after the last reference", () => {
  const state: State = { ...INITIAL, colormap: "magma", range: [0, 1] };
  assert.equal(tilesPath(shownBy(state)!), "v1/embeddings/tiles/WebMercatorQuad/{z}/{x}/{y}.png");
  const { body } = mapRequest(state, { west: 0, south: 0, east: 10, north: 10 }, 10, true);
  assert.deepEqual(body, { bbox: [0, 0, 10, 10], width: 10, height: 10 });
});

for (const [name, bounds, bbox] of [
  ["a plain view", { west: 10, south: 20, east: 30, north: 40 }, [10, 20, 30, 40]],
  ["over the antimeridian", { west: 170, south: -5, east: 190, north: 5 }, [170, -5, -170, 5]],
  ["a turn further on", { west: 370, south: 0, east: 380, north: 5 }, [10, 0, 20, 5]],
  ["up to the antimeridian", { west: 100, south: 0, east: 180, north: 5 }, [100, 0, 180, 5]],
  ["more than the globe", { west: -200, south: -95, east: 190, north: 95 }, [-180, -90, 180, 90]],
] as const) {
  test(`the bbox of ${name}`, () => assert.deepEqual(bboxOf(bounds), bbox));
}

test("a map has the pixels of the view, square in degrees, over the antimeridian too", () => {
  const { path, body } = mapRequest(SIMILARITY, { west: 170, south: -10, east: 190, north: 0 }, 800, false);
  assert.equal(path, "v1/similarity/map");
  assert.deepEqual(body, {
    bbox: [170, -10, -170, 0],
    width: 800,
    height: 400,
    reference: [[116.4, 39.9], [2, 48]],
    negative: [[-60, -3]],
  });
});

test("a head's map names the head, and its colours only in a picture", () => {
  const state: State = { ...INITIAL, layer: "predictions/elevation", colormap: "terrain", range: [0, 4000] };
  const world = { west: -180, south: -90, east: 180, north: 90 };
  const { path, body } = mapRequest({ ...state, model: "tiny" }, world, 100, true);
  assert.equal(path, "v1/predictions/map");
  const expected = { bbox: [-180, -90, 180, 90], width: 100, height: 50, model: "tiny", head: "elevation" };
  assert.deepEqual(body, { ...expected, colormap_name: "terrain", rescale: "0,4000" });
  assert.deepEqual(mapRequest({ ...state, model: "tiny" }, world, 100, false).body, expected);
});
