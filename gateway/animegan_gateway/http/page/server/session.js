import { announce } from "../base/announce.js";
import { call } from "./api.js";
import { onUnauthorized, steadily } from "./connection.js";
import { $ } from "../base/dom.js";
import { explain, t } from "../base/i18n.js";
import { forgetAll } from "../base/memory.js";

/** Empty until the server has answered. @type {{ keys_required: boolean, signed_in: boolean, limits: any, keep_s: number }} */
export const session = /** @type {any} */ ({});

/** @type {Promise<void> | null} */
let signingIn = null;

/** @type {Promise<void>} */
let entering = Promise.resolve();

/** Finds out who this is; asks for the key where one is needed. Where none is, nothing has to wait for the cookie. */
export async function openSession() {
  await know(() => call("v1/session"));
  if (session.signed_in) return;
  if (session.keys_required) await signIn();
  else {
    entering = enter({});
    entering.catch(() => {}); // whoever waits for it is told
  }
}

/** Resolves once this browser has its session: what is sent is then its own. */
export const entered = () => entering;

async function know(request) {
  Object.assign(session, (await steadily(request)).body);
  $("sign-out").hidden = !(session.keys_required && session.signed_in);
}

const enter = (json) => know(() => call("v1/session", { method: "POST", json }));

/** Once for all who were refused at the same time. */
function signIn() {
  signingIn ??= (async () => {
    await know(() => call("v1/session")); // a restart may have changed what is required
    if (session.signed_in) return; // what was refused had been asked before
    await (session.keys_required ? ask() : enter({}));
  })().finally(() => { signingIn = null; });
  return signingIn;
}

function ask() {
  const panel = $("sign-in");
  const form = panel.querySelector("form");
  const button = form.querySelector("button");
  const error = $("key-error");
  document.body.classList.add("locked");
  panel.hidden = false;
  $("key").focus();
  return new Promise((resolve) => {
    form.onsubmit = async (event) => {
      event.preventDefault();
      button.disabled = true;
      error.textContent = "";
      try {
        Object.assign(session, (await call("v1/session", { method: "POST", json: { key: $("key").value.trim() } })).body);
      } catch (problem) {
        error.textContent = problem.status ? explain(problem) : t("away");
        $("key").focus();
        return;
      } finally {
        button.disabled = false;
      }
      form.reset();
      panel.hidden = true;
      $("sign-out").hidden = false;
      document.body.classList.remove("locked");
      announce(t("signedIn"));
      $("main").focus();
      resolve();
    };
  });
}

/** Forgets who this is, and all that this browser keeps of photos and drawings. */
export async function signOut() {
  await steadily(() => call("v1/session", { method: "DELETE" }));
  await forgetAll();
  location.reload();
}

onUnauthorized(signIn);
