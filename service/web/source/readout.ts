/** The value under the cursor, or in the middle for a reader without one. */

import { getJson } from "./api.ts";
import { create } from "./dom.ts";
import { pointPath, type Shown } from "./layers.ts";
import type { Reading } from "./legend.ts";
import { numberText } from "./numbers.ts";
import { type Place, placeText } from "./places.ts";

const STILL_MS = 90;

export class Readout {
  readonly element = create("output", { className: "readout" });
  readonly #onReading: (reading: Reading | null) => void;
  readonly #onFailure: (error: unknown) => void;
  #timer: ReturnType<typeof setTimeout> | undefined;
  #asked = new AbortController();
  #last: { place: Place; zoom: number } | null = null;

  constructor(onReading: (reading: Reading | null) => void, onFailure: (error: unknown) => void) {
    this.#onReading = onReading;
    this.#onFailure = onFailure;
    this.clear();
  }

  /** Asks once the cursor rests; whatever was asked before is no longer waited for. */
  at(place: Place, zoom: number, shown: Shown | null): void {
    this.#forget();
    this.#last = { place, zoom };
    this.#write("…", placeText(place, zoom));
    const path = shown && pointPath(shown, place);
    if (!path) {
      this.#write("", placeText(place, zoom));
      return;
    }
    this.#timer = setTimeout(() => void this.#ask(path, place, zoom), STILL_MS);
  }

  /** The layer changed under the cursor. */
  again(shown: Shown | null): void {
    if (this.#last) this.at(this.#last.place, this.#last.zoom, shown);
  }

  clear(): void {
    this.#forget();
    this.#last = null;
    this.#onReading(null);
    this.#write("", "");
  }

  async #ask(path: string, place: Place, zoom: number): Promise<void> {
    const asked = new AbortController();
    this.#asked = asked;
    try {
      const reading = await getJson<Reading>(path, asked.signal);
      if (asked.signal.aborted) return;
      this.#onReading(reading);
      this.#write(readingText(reading), placeText(place, zoom));
    } catch (error) {
      if (asked.signal.aborted) return;
      this.#onReading(null);
      this.#write("", placeText(place, zoom));
      this.#onFailure(error);
    }
  }

  #forget(): void {
    clearTimeout(this.#timer);
    this.#asked.abort();
  }

  #write(value: string, place: string): void {
    this.element.replaceChildren(create("strong", {}, value), create("span", {}, place));
    this.element.hidden = !place;
  }
}

export function readingText({ value, label, unit }: Reading): string {
  if (label) return label;
  if (typeof value !== "number") return "no value";
  const number = numberText(value, true);
  return unit ? `${number} ${unit}` : number;
}
