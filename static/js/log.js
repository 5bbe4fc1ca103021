// A growing log stays scrolled to its end while one reads there, and never holds more than a part.
const MOST_PIECES = 600;
const MOST_CHARACTERS = 1024 * 1024;
const END = 40; // pixels

const logOf = (event) => event.target.closest?.("[data-log]");
let wasAtEnd = false;

const toEnd = (log) => (log.scrollTop = log.scrollHeight);

const dropOld = (log) => {
  const pieces = [...log.querySelectorAll(".log-piece")];
  let characters = pieces.reduce((sum, piece) => sum + piece.textContent.length, 0);
  while (pieces.length > MOST_PIECES || characters > MOST_CHARACTERS) {
    const oldest = pieces.shift();
    characters -= oldest.textContent.length;
    oldest.remove();
  }
};

document.addEventListener("DOMContentLoaded", () => {
  if (location.hash.startsWith("#L")) return; // a link to a line
  document.querySelectorAll("[data-log]").forEach(toEnd);
});
document.addEventListener("htmx:beforeSwap", (event) => {
  const log = logOf(event);
  if (log) wasAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < END;
});
document.addEventListener("htmx:afterSettle", () => {
  const log = document.querySelector("[data-log]");
  if (log?.querySelector(".log-piece")) log.querySelector(".log-empty")?.remove();
  if (!wasAtEnd) return;
  wasAtEnd = false;
  dropOld(log);
  toEnd(log);
});
