// A failed live request is announced instead of passing silently; see notifications.js.
const SIGN_IN = "/sign-in/";

const reasons = {
  403: "Your role does not allow this, or the page was open for too long. Reload it and try again.",
  404: "This is no longer there. Reload the page.",
};

const complain = (text) => {
  const toast = document.createElement("div");
  toast.className = "toast toast-error";
  toast.setAttribute("role", "alert");
  const words = document.createElement("p");
  words.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "toast-close";
  close.setAttribute("aria-label", "Close notification");
  close.textContent = "×";
  toast.append(words, close);
  region().append(toast);
  removeRepeats();
};

// Parts that refresh themselves report their own failures; see live.js.
document.addEventListener("htmx:responseError", (event) => {
  if (isLive(event)) return;
  const { status } = event.detail.xhr;
  complain(reasons[status] ?? `Stackhook answered with an error (HTTP ${status}). Try again.`);
});

document.addEventListener("htmx:sendError", (event) => {
  if (isLive(event)) return;
  complain("Stackhook can't be reached. Check your connection and try again.");
});

// Whoever was signed out meanwhile goes to the sign-in page instead of seeing it inside a card.
document.addEventListener("htmx:beforeSwap", (event) => {
  const answeredAt = new URL(event.detail.xhr.responseURL || location.href).pathname;
  if (answeredAt !== SIGN_IN || location.pathname === SIGN_IN) return;
  event.preventDefault();
  location.reload();
});
