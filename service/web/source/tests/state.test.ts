import assert from "node:assert/strict";
import { test } from "node:test";
import { fromFragment, INITIAL, layerOf, sidesOf, type State, toFragment } from "../state.ts";

const FULL: State = {
  centre: { lon: -179.5, lat: 66.25 },
  zoom: 4.75,
  references: [{ lon: 116.4, lat: 39.9 }, { lon: -0.5, lat: -90 }],
  negatives: [{ lon: 2.35, lat: 48.86 }],
  layer: "predictions/land-cover",
  model: "earth-l40",
  compared: "satclip.l10_v1",
  comparedLayer: "predictions/elevation",
  colormap: "rdbu_r",
  range: [-0.25, 1],
  opacity: 0.5,
};

test("a link gives back the same view", () => {
  assert.deepEqual(fromFragment(toFragment(FULL)), FULL);
  assert.deepEqual(fromFragment(toFragment(INITIAL)), INITIAL);
});

test("a link is short and can be read", () => {
  const beijing = { ...INITIAL, references: [{ lon: 116.4, lat: 39.9 }] };
  assert.equal(toFragment(beijing), "#map=1.2/20/15&reference=116.4,39.9");
});

for (const fragment of [
  "", "#", "#map=", "#map=NaN/0/0", "#map=3/91/0", "#map=1/2", "#reference=,;x,y;1,2,3;5,91", "#layer=../admin",
  "#layer=predictions/", "#range=1,0", "#range=a,b", "#opacity=2", "#opacity=x", "#colormap=<b>", "#model=", "#%E0%A4%A",
]) {
  test(`nonsense is passed over: ${fragment}`, () => assert.deepEqual(fromFragment(fragment), INITIAL));
}

test("similarity is shown as soon as there is a reference, unless another layer was chosen", () => {
  assert.equal(layerOf(INITIAL), "embeddings");
  const referenced = { ...INITIAL, references: [{ lon: 0, lat: 0 }] };
  assert.equal(layerOf(referenced), "similarity");
  assert.equal(layerOf({ ...referenced, layer: "predictions/elevation" }), "predictions/elevation");
});

test("the second map has its own model and layer, and the look of the first where the layer is the same", () => {
  assert.deepEqual(sidesOf(INITIAL), [INITIAL]);
  const [first, second] = sidesOf(FULL);
  assert.deepEqual(first, FULL);
  assert.deepEqual(second, { ...FULL, model: FULL.compared, layer: FULL.comparedLayer, colormap: null, range: null });
  const alike = { ...FULL, comparedLayer: null };
  assert.deepEqual(sidesOf(alike)[1], { ...alike, model: FULL.compared });
  assert.equal(sidesOf({ ...INITIAL, compared: "b", references: [{ lon: 0, lat: 0 }] })[1]?.layer, "similarity");
});
