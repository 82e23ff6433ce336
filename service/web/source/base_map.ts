/** What lies under and over every layer: sea, land or a basemap; coastlines and borders. */

import type { GeoJSONSource, Map, StyleSpecification } from "maplibre-gl";
import coarseUrl from "world-atlas/countries-50m.json?url";
import fineUrl from "world-atlas/countries-10m.json?url";
import { type Countries, type World, worldOf } from "./coastlines.ts";

const FINE_FROM_ZOOM = 5;
/** Layers of the API go under this one. */
export const ABOVE = "coast-halo";

const COLOURS = {
  light: { sea: "#dbe4e6", land: "#f4f3ee" },
  dark: { sea: "#0c1418", land: "#1a262b" },
};

export interface Basemap {
  readonly url: string;
  readonly attribution: string;
}

const EMPTY = { type: "GeometryCollection" as const, geometries: [] };
const worlds: globalThis.Map<string, Promise<World>> = new globalThis.Map();

export function styleOf(basemap: Basemap | null): StyleSpecification {
  const { sea, land } = COLOURS[isDark() ? "dark" : "light"];
  const line = (id: string, source: string, color: string, width: number, opacity: number) => ({
    id,
    source,
    type: "line" as const,
    layout: { "line-join": "round" as const },
    paint: { "line-color": color, "line-width": width, "line-opacity": opacity },
  });
  const geojson = { type: "geojson" as const, data: EMPTY, tolerance: 0.25 };
  const credit = 'Outlines: <a href="https://www.naturalearthdata.com/">Natural Earth</a>';
  return {
    version: 8,
    sources: {
      land: geojson,
      coasts: { ...geojson, attribution: credit },
      borders: geojson,
      ...(basemap && { basemap: { type: "raster", tiles: [basemap.url], tileSize: 256, attribution: basemap.attribution } }),
    },
    layers: [
      { id: "sea", type: "background", paint: { "background-color": sea } },
      { id: "land", source: "land", type: "fill", paint: { "fill-color": land, "fill-antialias": false } },
      ...(basemap ? [{ id: "basemap", source: "basemap", type: "raster" as const }] : []),
      line(ABOVE, "coasts", "#06141a", 2.2, 0.3),
      line("borders-halo", "borders", "#06141a", 1.4, 0.18),
      line("borders", "borders", "#ffffff", 0.5, 0.5),
      line("coasts", "coasts", "#ffffff", 0.8, 0.85),
    ],
  };
}

/** Fills in the outlines, finer ones once the map is near enough to tell; follows the reader's light or dark. */
export async function drawBase(map: Map, failed: (error: unknown) => void): Promise<void> {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
    const { sea, land } = COLOURS[isDark() ? "dark" : "light"];
    map.setPaintProperty("sea", "background-color", sea);
    map.setPaintProperty("land", "fill-color", land);
  });
  let drawn = "";
  const draw = async (): Promise<void> => {
    const url = map.getZoom() >= FINE_FROM_ZOOM ? fineUrl : coarseUrl;
    if (drawn === url || drawn === fineUrl) return;
    drawn = url;
    const world = await worldAt(url);
    for (const name of ["land", "coasts", "borders"] as const) map.getSource<GeoJSONSource>(name)?.setData(world[name]);
  };
  map.on("zoomend", () => draw().catch(failed));
  await draw().catch(failed);
}

function worldAt(url: string): Promise<World> {
  const known = worlds.get(url);
  if (known) return known;
  const world = read(url);
  worlds.set(url, world);
  world.catch(() => worlds.delete(url));
  return world;
}

async function read(url: string): Promise<World> {
  const response = await fetch(new URL(url, import.meta.url));
  if (!response.ok) throw new Error("The coastlines could not be loaded.");
  return worldOf((await response.json()) as Countries);
}

function isDark(): boolean {
  return matchMedia("(prefers-color-scheme: dark)").matches;
}
