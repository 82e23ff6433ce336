import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { smooth, smoothPolygon, withoutJumps, worldOf } from "../coastlines.ts";

type Line = [number, number][];

for (const scale of ["110m", "50m", "10m"]) {
  const file = new URL(`../node_modules/world-atlas/countries-${scale}.json`, import.meta.url);
  const world = worldOf(JSON.parse(readFileSync(file, "utf8")));

  test(`${scale}: no line runs across the map, and none along its sides`, () => {
    for (const line of [...world.coasts.coordinates, ...world.borders.coordinates, ...world.land.coordinates.flat()] as Line[]) {
      line.forEach(([lon, lat], index) => {
        const [before, latBefore] = line[index - 1] ?? [lon, lat];
        assert.ok(Math.abs(lon - before) <= 180 || (lat === -90 && latBefore === -90), `${before} to ${lon} at ${lat}`);
      });
    }
    assert.ok((world.coasts.coordinates as Line[]).flat().every(([, lat]) => lat > -89.9));
  });

  test(`${scale}: every ring of land is closed, and every hole lies within its ring`, () => {
    for (const [outer, ...holes] of world.land.coordinates as [Line, ...Line[]][]) {
      for (const ring of [outer, ...holes]) assert.deepEqual(ring[0], ring.at(-1));
      const lons = outer.map(([lon]) => lon);
      const [west, east] = [Math.min(...lons), Math.max(...lons)];
      for (const [lon] of holes.flat()) assert.ok(lon >= west && lon <= east);
    }
  });

  test(`${scale}: the shared side of two countries is a border, all else is coast`, () => {
    const near = (lines: Line[], lon: number, lat: number) =>
      lines.some((line) => line.some(([x, y]) => Math.hypot(x - lon, y - lat) < 1.5));
    const [coasts, borders] = [world.coasts.coordinates as Line[], world.borders.coordinates as Line[]];
    assert.ok(near(borders, -123, 49), "the 49th parallel is a border");
    assert.ok(near(coasts, -9.4, 38.7), "Lisbon lies at the coast");
    assert.ok(!near(borders, -9.4, 38.7));
    assert.ok(!near(coasts, -105, 49));
  });
}

test("a line over the antimeridian goes on, in both directions and more than once", () => {
  const lons = (line: Line) => withoutJumps(line).map(([lon]) => lon);
  assert.deepEqual(lons([[170, 0], [-170, 0], [-100, 0], [0, 0], [170, 0], [-175, 0]]), [170, 190, 260, 360, 530, 545]);
  assert.deepEqual(lons([[-170, 0], [170, 0], [-179, 0]]), [-170, -190, -179]);
});

test("lines are cut where they run along a side of the map, and kept where they only touch it", () => {
  const coordinates: Line[] = [
    [[170, 60], [180, 61], [180, 70], [170, 71]],
    [[-170, 0], [-180, 1], [-170, 2]],
    [[170, -84], [180, -90], [-180, -90], [-170, -84]],
  ];
  assert.deepEqual(smooth({ type: "MultiLineString", coordinates }).coordinates, [
    [[170, 60], [180, 61]],
    [[180, 70], [170, 71]],
    [[-170, 0], [-180, 1], [-170, 2]],
    [[170, -84], [180, -90]],
    [[-180, -90], [-170, -84]],
  ]);
});

test("a ring around the south pole is closed along it", () => {
  const ring: Line = [[-120, -70], [0, -70], [120, -70], [-120, -70]];
  assert.deepEqual(smoothPolygon([ring])[0]?.slice(-4), [[240, -70], [240, -90], [-120, -90], [-120, -70]]);
});

test("a hole goes with the turn of its ring", () => {
  const outer: Line = [[170, 0], [-160, 0], [-160, 10], [170, 10], [170, 0]];
  const hole: Line = [[-175, 4], [-174, 4], [-174, 5], [-175, 4]];
  assert.deepEqual(smoothPolygon([outer, hole])[1]?.[0], [185, 4]);
});
