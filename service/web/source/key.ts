/** Where the service wants an API key: asks for it, once however many requests were turned away. */

import { ApiError, setKey } from "./api.ts";
import { byId } from "./dom.ts";
import { complain, sentence } from "./messages.ts";

const dialog = byId("key-dialog", HTMLDialogElement);
const field = byId("key", HTMLInputElement);

/** Errors go through here: a missing or wrong key opens the dialog, the rest is said. */
export function failed(error: unknown): void {
  if (!(error instanceof ApiError && error.status === 401)) {
    complain(error);
    return;
  }
  byId("key-problem", HTMLElement).textContent = `${sentence(error.message.split(":", 1)[0] ?? "")}.`;
  if (!dialog.open) dialog.showModal();
}

/** The page begins anew with the key: everything that was turned away is asked for again. */
export function setUpKey(): void {
  byId("key-form", HTMLFormElement).addEventListener("submit", (event) => {
    event.preventDefault();
    setKey(field.value.trim());
    location.reload();
  });
  byId("key-cancel", HTMLButtonElement).addEventListener("click", () => dialog.close());
}
