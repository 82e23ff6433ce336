/** What an embedding of a place may be worth: how far it is from where the model was trained, and whether it is land. */

import { postJson } from "./api.ts";
import { numberText } from "./numbers.ts";
import type { Place } from "./places.ts";

/** Of an item of `/v1/embeddings` with context. */
export interface Context {
  /** null: the model does not say where it was trained. */
  readonly nearest_sample_km: number | null;
  readonly land: boolean;
}

const known = new Map<string, Promise<Context>>();

/** `model` null: the service's default. */
export function contextOf({ lon, lat }: Place, model: string | null): Promise<Context> {
  const body = { input: [lon, lat], context: true, encoding_format: "base64", ...(model && { model }) };
  const key = JSON.stringify(body);
  const found = known.get(key);
  if (found) return found;
  const context = asked(body);
  known.set(key, context);
  context.catch(() => known.delete(key));
  return context;
}

async function asked(body: unknown): Promise<Context> {
  const response = await postJson("v1/embeddings", body, "application/json");
  const { data } = (await response.json()) as { data: [Context] };
  return data[0];
}

/** `On land, 23.4 km from a training sample`. */
export function contextText({ nearest_sample_km: distance, land }: Context): string {
  const where = land ? "On land" : "At sea";
  return distance === null ? where : `${where}, ${numberText(distance)} km from a training sample`;
}
