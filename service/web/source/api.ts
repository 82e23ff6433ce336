/** The service's HTTP API, as far as the page needs it. Addresses are relative to the page's own. */

const KEY = "satcle-api-key";

export interface HeadCard {
  readonly id: string;
  readonly task: "regression" | "classification";
  readonly unit?: string | null;
}

/** What the API said is wrong, in its own words. */
export class ApiError extends Error {
  readonly status: number;

  constructor(status: number, message: string) {
    super(message);
    this.status = status;
  }
}

export function address(path: string): string {
  return new URL(".", document.baseURI).href + path;
}

/** The API key lives as long as the tab. */
export function setKey(key: string): void {
  sessionStorage.setItem(KEY, key);
}

export function keyHeaders(): Record<string, string> {
  const key = sessionStorage.getItem(KEY);
  return key ? { "X-API-Key": key } : {};
}

export async function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
  const response = await asked(path, { headers: { Accept: "application/json", ...keyHeaders() }, signal: signal ?? null });
  return (await response.json()) as T;
}

export async function postJson(path: string, body: unknown, accept: string): Promise<Response> {
  const headers = { Accept: accept, "Content-Type": "application/json", ...keyHeaders() };
  return asked(path, { method: "POST", headers, body: JSON.stringify(body) });
}

async function asked(path: string, init: RequestInit): Promise<Response> {
  let response: Response;
  try {
    response = await fetch(address(path), init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new ApiError(0, "The service cannot be reached.");
  }
  if (!response.ok) throw await problemOf(response.status, response);
  return response;
}

/** The words of an `application/problem+json` body, or the bare status. */
export async function problemOf(status: number, body: Body | Blob): Promise<ApiError> {
  try {
    const { detail } = JSON.parse(await body.text()) as { detail?: string };
    if (detail) return new ApiError(status, detail);
  } catch {
    // Not a problem document: a proxy's page, say.
  }
  return new ApiError(status, `The service answered with status ${status}.`);
}
