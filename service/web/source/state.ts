/** What is shown, as the fragment of the page's address holds it: no server sees it, and a copied link shows the same. */

import { type Place, rounded, wrapped } from "./places.ts";

export interface State {
  readonly centre: Place;
  readonly zoom: number;
  readonly references: readonly Place[];
  readonly negatives: readonly Place[];
  /** `similarity`, `embeddings` or `predictions/{head}`, as in the paths of the API; null: what there is to see. */
  readonly layer: string | null;
  /** The names of models; null: the service's default, and no second map. */
  readonly model: string | null;
  readonly compared: string | null;
  /** The layer of the second map; null: that of the first. */
  readonly comparedLayer: string | null;
  /** null: the layer's own. */
  readonly colormap: string | null;
  readonly range: readonly [number, number] | null;
  readonly opacity: number;
}

export const INITIAL: State = {
  centre: { lon: 15, lat: 20 },
  zoom: 1.2,
  references: [],
  negatives: [],
  layer: null,
  model: null,
  compared: null,
  comparedLayer: null,
  colormap: null,
  range: null,
  opacity: 0.9,
};

/** The layer that is shown: similarity as soon as there is a place to be similar to. */
export function layerOf(state: State): string {
  return state.layer ?? (state.references.length ? "similarity" : "embeddings");
}

/** What each map shows, as if it were alone: colours and scale are those of the first one's layer. */
export function sidesOf(state: State): State[] {
  if (!state.compared) return [state];
  const layer = state.comparedLayer ?? layerOf(state);
  const look = layer === layerOf(state) ? {} : { colormap: null, range: null };
  return [state, { ...state, model: state.compared, layer, ...look }];
}

/** `#…`; what is as it was at first is left out. */
export function toFragment(state: State): string {
  const { centre, zoom } = state;
  const parts: [string, string | null][] = [
    ["map", `${Number(zoom.toFixed(2))}/${rounded(centre.lat)}/${rounded(centre.lon)}`],
    ["reference", places(state.references)],
    ["negative", places(state.negatives)],
    ["layer", state.layer],
    ["model", state.model],
    ["compare", state.compared],
    ["compare-layer", state.comparedLayer],
    ["colormap", state.colormap],
    ["range", state.range && state.range.join(",")],
    ["opacity", state.opacity === INITIAL.opacity ? null : String(state.opacity)],
  ];
  const given = parts.filter((part): part is [string, string] => part[1] !== null);
  return `#${given.map(([name, value]) => `${name}=${encodeURIComponent(value).replace(/%(2F|2C|3B)/g, decodeURIComponent)}`).join("&")}`;
}

/** Reads what `toFragment` wrote. What is absent or makes no sense is as it was at first. */
export function fromFragment(fragment: string): State {
  const given = new URLSearchParams(fragment.replace(/^#/, "").replaceAll("+", "%2B"));
  const [zoom, lat, lon] = numbers(given.get("map"), "/");
  const [low, high] = numbers(given.get("range"), ",");
  const opacity = Number(given.get("opacity") ?? INITIAL.opacity);
  const seen = zoom !== undefined && lat !== undefined && lon !== undefined && Math.abs(lat) <= 90;
  return {
    centre: seen ? { lon: wrapped(lon), lat } : INITIAL.centre,
    zoom: seen ? Math.min(22, Math.max(0, zoom)) : INITIAL.zoom,
    references: placesFrom(given.get("reference")),
    negatives: placesFrom(given.get("negative")),
    layer: layerFrom(given.get("layer")),
    model: given.get("model") || null,
    compared: given.get("compare") || null,
    comparedLayer: layerFrom(given.get("compare-layer")),
    colormap: /^\w{1,40}$/.exec(given.get("colormap") ?? "")?.[0] ?? null,
    range: low !== undefined && high !== undefined && low < high ? [low, high] : null,
    opacity: opacity >= 0 && opacity <= 1 ? opacity : INITIAL.opacity,
  };
}

function places(list: readonly Place[]): string | null {
  return list.length ? list.map(({ lon, lat }) => `${lon},${lat}`).join(";") : null;
}

function placesFrom(text: string | null): Place[] {
  return (text ?? "").split(";").flatMap((pair) => {
    const [lon, lat, more] = numbers(pair, ",");
    const good = lon !== undefined && lat !== undefined && more === undefined && Math.abs(lat) <= 90;
    return good ? [{ lon: wrapped(lon), lat }] : [];
  });
}

function layerFrom(text: string | null): string | null {
  return text && /^(similarity|embeddings|predictions\/[a-z0-9][a-z0-9._-]*)$/.test(text) ? text : null;
}

function numbers(text: string | null, separator: string): number[] {
  const parts = (text ?? "").split(separator).map((part) => (part.trim() ? Number(part) : NaN));
  return parts.every(Number.isFinite) ? parts : [];
}
