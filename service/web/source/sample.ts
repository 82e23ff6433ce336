/** Places all over a view, by which models are compared: the same for the same view. */

import type { Bounds } from "./layers.ts";
import { type Place, rounded, wrapped } from "./places.ts";

export const SAMPLE = 256;
/** Powers of the inverse of the plastic number: multiples of the two, modulo 1, fill a square evenly, in no grid. */
const STEPS = [0.7548776662466927, 0.5698402909980532] as const;

/** Even over the globe's surface: as many to a square kilometre everywhere. */
export function sampleOf({ west, south, east, north }: Bounds): Place[] {
  const across = Math.min(360, east - west);
  const [low, high] = [sine(south), sine(north)];
  return Array.from({ length: SAMPLE }, (_, index) => {
    const [x, y] = STEPS.map((step) => (0.5 + (index + 1) * step) % 1) as [number, number];
    const lat = (Math.asin(low + (high - low) * y) * 180) / Math.PI;
    return { lon: rounded(wrapped(west + across * x)), lat: rounded(lat) };
  });
}

function sine(degrees: number): number {
  return Math.sin((Math.max(-90, Math.min(90, degrees)) * Math.PI) / 180);
}
