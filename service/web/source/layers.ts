/** What a layer is to the API: its tiles, its legend, the value at a place, and a map to keep. */

import { rounded, type Place, wrapped } from "./places.ts";
import { layerOf, type State } from "./state.ts";

/** A tile of 256 pixels is drawn over 512 of the screen: what is shown is smooth, and four times the values take four times as long. */
export const TILE_SIZE = 512;
const MAX_SIDE = 4096;

export interface Bounds {
  readonly west: number;
  readonly south: number;
  readonly east: number;
  readonly north: number;
}

/** The layer with everything that changes its pixels; `null` where there is nothing to show. */
export interface Shown {
  readonly layer: string;
  readonly model: string | null;
  readonly places: string;
  readonly style: string;
}

export function shownBy(state: State): Shown | null {
  const { model } = state;
  const layer = layerOf(state);
  if (layer === "similarity" && !state.references.length) return null;
  return { layer, model, places: layer === "similarity" ? placesQuery(state) : "", style: styleQuery(state) };
}

export function tilesPath(shown: Shown): string {
  return withQuery(`v1/${shown.layer}/tiles/WebMercatorQuad/{z}/{x}/{y}.png`, shown.places, shown.style, modelQuery(shown));
}

export function legendPath(shown: Shown): string {
  return withQuery(`v1/${shown.layer}/legend.json`, shown.places, shown.style, modelQuery(shown));
}

export function pointPath(shown: Shown, { lon, lat }: Place): string | null {
  if (shown.layer === "embeddings") return null;
  return withQuery(`v1/${shown.layer}/point/${rounded(wrapped(lon))},${rounded(lat)}`, shown.places, modelQuery(shown));
}

/** Where to POST for what is shown within `bounds`, and with which body. */
export function mapRequest(
  state: State,
  bounds: Bounds,
  pixels: number,
  coloured: boolean,
): { path: string; body: Record<string, unknown> } {
  const layer = layerOf(state);
  const [family = layer, head] = layer.split("/");
  const bbox = bboxOf(bounds);
  const body: Record<string, unknown> = { bbox, ...sizeOf(bbox, pixels) };
  if (state.model) body["model"] = state.model;
  if (head) body["head"] = head;
  if (layer === "similarity") {
    body["reference"] = state.references.map(pair);
    if (state.negatives.length) body["negative"] = state.negatives.map(pair);
  }
  if (coloured) Object.assign(body, styleOf(state));
  return { path: `v1/${family}/map`, body };
}

/** [west, south, east, north]; west is greater than east where the view crosses the antimeridian. */
export function bboxOf({ west, south, east, north }: Bounds): [number, number, number, number] {
  const poleward = (lat: number): number => rounded(Math.min(90, Math.max(-90, lat)));
  if (east - west >= 360) return [-180, poleward(south), 180, poleward(north)];
  const wrappedEast = wrapped(east);
  return [rounded(wrapped(west)), poleward(south), wrappedEast === -180 ? 180 : rounded(wrappedEast), poleward(north)];
}

/** As many pixels across as the view has, square in degrees. */
function sizeOf([west, south, east, north]: readonly [number, number, number, number], pixels: number) {
  const across = west < east ? east - west : east - west + 360;
  const width = Math.max(1, Math.min(MAX_SIDE, Math.round(pixels)));
  return { width, height: Math.max(1, Math.min(MAX_SIDE, Math.round((width * (north - south)) / across))) };
}

function pair({ lon, lat }: Place): [number, number] {
  return [lon, lat];
}

function placesQuery(state: State): string {
  const each = (name: string, places: readonly Place[]) => places.map(({ lon, lat }) => `${name}=${lon},${lat}`);
  return [...each("reference", state.references), ...each("negative", state.negatives)].join("&");
}

/** Colour map and scale, which the API refuses for what is red, green and blue. */
function styleOf(state: State): Record<string, string> {
  const style: Record<string, string> = {};
  if (layerOf(state) === "embeddings") return style;
  if (state.colormap) style["colormap_name"] = state.colormap;
  if (state.range) style["rescale"] = state.range.join(",");
  return style;
}

function styleQuery(state: State): string {
  return Object.entries(styleOf(state)).map((pair) => pair.join("=")).join("&");
}

function modelQuery({ model }: Shown): string {
  return model ? `model=${encodeURIComponent(model)}` : "";
}

function withQuery(path: string, ...parts: string[]): string {
  const given = parts.filter(Boolean);
  return given.length ? `${path}?${given.join("&")}` : path;
}
