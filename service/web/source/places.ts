/** Places as people write them. Inside the page, as in the API, a place is lon, lat in degrees. */

export interface Place {
  readonly lon: number;
  readonly lat: number;
}

const ANGLE =
  /([NSEW])?\s*([-+−]?\d+(?:\.\d+)?)\s*°?\s*(?:(\d+(?:\.\d+)?)\s*['′]\s*)?(?:(\d+(?:\.\d+)?)\s*(?:"|″|'')\s*)?([NSEW](?![a-z]))?/gi;

interface Angle {
  readonly degrees: number;
  readonly hemisphere: string;
}

/** Reads `116.4, 39.9` (lon, lat) and, in either order, `39.9 N 116.4 E` or `39°54′ N, 116°24′ E`. Throws what is wrong. */
export function parsePlace(text: string): Place {
  const angles = [...text.matchAll(ANGLE)].map(angle);
  const rest = text.replace(ANGLE, "").replace(/[\s,;]/g, "");
  const [first, second] = angles;
  if (angles.length !== 2 || rest || !first || !second) {
    throw new Error("Write two numbers, such as 116.4, 39.9 (longitude first) or 39.9 N, 116.4 E.");
  }
  return place(first, second);
}

function angle(match: RegExpMatchArray): Angle {
  const [, before = "", number = "", minutes = "0", seconds = "0", after = ""] = match;
  const whole = Number(number.replace("−", "-"));
  const size = Math.abs(whole) + Number(minutes) / 60 + Number(seconds) / 3600;
  const hemisphere = (before || after).toUpperCase();
  const negative = number.startsWith("-") || number.startsWith("−");
  return { degrees: negative !== (hemisphere === "S" || hemisphere === "W") ? -size : size, hemisphere };
}

function place(first: Angle, second: Angle): Place {
  const axes = [first, second].map(({ hemisphere }) => (!hemisphere ? "" : "NS".includes(hemisphere) ? "lat" : "lon"));
  if (axes[0] !== "" && axes[0] === axes[1]) throw new Error("Both numbers are for the same direction.");
  const latFirst = axes[0] === "lat" || axes[1] === "lon";
  const lon = latFirst ? second.degrees : first.degrees;
  const lat = latFirst ? first.degrees : second.degrees;
  if (Math.abs(lat) > 90) {
    const hint = Math.abs(lon) <= 90 ? " Longitude comes first, unless you write N or S, and E or W." : "";
    throw new Error(`A latitude of ${lat} does not exist.${hint}`);
  }
  if (Math.abs(lon) > 360) throw new Error(`A longitude of ${lon} does not exist.`);
  return { lon: rounded(wrapped(lon)), lat: rounded(lat) };
}

/** A longitude in [-180, 180). */
export function wrapped(lon: number): number {
  return lon >= -180 && lon < 180 ? lon : ((((lon + 180) % 360) + 360) % 360) - 180;
}

/** To 0.0001°, some ten metres, or to so many digits. */
export function rounded(degrees: number, digits = 4): number {
  return Math.round(degrees * 10 ** digits) / 10 ** digits;
}

/** A place on the map: as exact as the pixels of `zoom`. */
export function pointed({ lng, lat }: { lng: number; lat: number }, zoom: number): Place {
  const digits = digitsAt(zoom);
  return { lon: rounded(wrapped(lng), digits), lat: rounded(lat, digits) };
}

/** How many digits of a degree tell pixels of a map's zoom apart. */
function digitsAt(zoom: number): number {
  return Math.min(4, Math.max(1, Math.ceil((zoom - 1) / 3.3)));
}

export function samePlace(one: Place, other: Place): boolean {
  return one.lon === other.lon && one.lat === other.lat;
}

/** `39.9° N, 116.4° E`, with so many digits as tell pixels of `zoom` apart. */
export function placeText({ lon, lat }: Place, zoom = 20): string {
  const digits = digitsAt(zoom);
  const number = (degrees: number): string => String(Number(Math.abs(degrees).toFixed(digits)));
  return `${number(lat)}° ${lat < 0 ? "S" : "N"}, ${number(lon)}° ${lon < 0 ? "W" : "E"}`;
}
