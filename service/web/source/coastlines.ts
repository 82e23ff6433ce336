/** Coastlines, borders and land from the TopoJSON of world-atlas (Natural Earth), whose lines jump at the antimeridian. */

import type { MultiLineString, MultiPolygon, Position } from "geojson";
import { merge, mesh } from "topojson-client";
import type { GeometryCollection, MultiPolygon as TopoMultiPolygon, Polygon, Topology } from "topojson-specification";

export type Countries = Topology<{ countries: GeometryCollection }>;

export interface World {
  readonly coasts: MultiLineString;
  readonly borders: MultiLineString;
  readonly land: MultiPolygon;
}

/** An arc of one country alone is coast, an arc of two is a border. */
export function worldOf(topology: Countries): World {
  const { countries } = topology.objects;
  const areas = countries.geometries.filter((area): area is Polygon | TopoMultiPolygon => "arcs" in area);
  return {
    coasts: smooth(mesh(topology, countries, (one, other) => one === other)),
    borders: smooth(mesh(topology, countries, (one, other) => one !== other)),
    land: { type: "MultiPolygon", coordinates: merge(topology, areas).coordinates.map(smoothPolygon) },
  };
}

/** Without jumps, and without the sides of the map, along which what crosses the antimeridian, and Antarctica, are cut. */
export function smooth({ coordinates }: MultiLineString): MultiLineString {
  return { type: "MultiLineString", coordinates: coordinates.flatMap(withoutSides).map(withoutJumps) };
}

/** Rings without jumps: one that goes around a pole is closed along it, and holes lie within their outer ring. */
export function smoothPolygon([outer = [], ...holes]: Position[][]): Position[][] {
  const ring = closed(withoutJumps(outer));
  const west = ring.reduce((least, position) => Math.min(least, lonOf(position)), Infinity);
  return [ring, ...holes.map((hole) => eastOf(west, closed(withoutJumps(hole))))];
}

function closed(ring: readonly Position[]): Position[] {
  const [first, last] = [lonOf(ring[0]), lonOf(ring.at(-1))];
  if (Math.abs(last - first) < 180) return [...ring];
  const pole = latOf(ring[0]) < 0 ? -90 : 90;
  return [...ring, [last, pole], [first, pole], ring[0] as Position];
}

/** Every longitude within 180° of the one before, whatever turn of the globe that leads to. */
export function withoutJumps(line: readonly Position[]): Position[] {
  let turns = 0;
  return line.map((position, index) => {
    const step = index ? lonOf(position) - lonOf(line[index - 1]) : 0;
    if (Math.abs(step) > 180) turns -= 360 * Math.sign(step);
    return [lonOf(position) + turns, latOf(position)];
  });
}

function eastOf(west: number, hole: readonly Position[]): Position[] {
  const least = hole.reduce((least, position) => Math.min(least, lonOf(position)), Infinity);
  const turns = 360 * Math.ceil((west - least) / 360);
  return hole.map((position) => [lonOf(position) + turns, latOf(position)]);
}

function withoutSides(line: readonly Position[]): Position[][] {
  const parts: Position[][] = [[]];
  for (const position of line) {
    const last = parts.at(-1)?.at(-1);
    if (last && alongSide(last, position)) parts.push([]);
    parts.at(-1)?.push(position);
  }
  return parts.filter((part) => part.length > 1);
}

function alongSide(one: Position, other: Position): boolean {
  const side = Math.abs(lonOf(one)) > 179.99 && Math.abs(lonOf(other)) > 179.99;
  return side || (latOf(one) < -89.9 && latOf(other) < -89.9);
}

function lonOf(position: Position | undefined): number {
  return position?.[0] ?? 0;
}

function latOf(position: Position | undefined): number {
  return position?.[1] ?? 0;
}
