/** What the page has to say: news politely, errors at once. */

import { ApiError } from "./api.ts";
import { byId, create } from "./dom.ts";

const SHOWN_MS = 8000;

const news = byId("news", HTMLElement);
const errors = byId("errors", HTMLElement);

/** For those who listen. */
export function announce(text: string): void {
  news.textContent = text;
}

/** For everybody, until it is put away or a while has passed; the same words once. */
export function complain(error: unknown): void {
  const text = wordsOf(error);
  if ([...errors.children].some((child) => child.firstChild?.textContent === text)) return;
  const close = create("button", { type: "button", className: "quiet", textContent: "Dismiss" });
  const message = create("div", { className: "message" }, create("span", {}, text), close);
  close.addEventListener("click", () => message.remove());
  errors.append(message);
  setTimeout(() => message.remove(), SHOWN_MS);
}

/** What the API says begins small. */
export function sentence(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

function wordsOf(error: unknown): string {
  if (error instanceof ApiError) return sentence(error.message);
  return error instanceof Error && error.message ? error.message : "Something went wrong in the page.";
}
