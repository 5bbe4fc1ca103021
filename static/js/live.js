// Parts that refresh themselves pause while the page is hidden, and say quietly when they fail.
const isLive = (event) => event.detail.requestConfig.elt.hasAttribute("data-live");

const note = (text) => {
  const place = document.querySelector("[data-live-note]");
  if (place && place.textContent !== text) place.textContent = text;
};

document.addEventListener("htmx:beforeRequest", (event) => {
  if (isLive(event) && document.hidden) event.preventDefault();
});

document.addEventListener("htmx:afterRequest", (event) => {
  if (!isLive(event)) return;
  const reason = reasons[event.detail.xhr.status] ?? "Stackhook can't be reached: what stands here may be old.";
  note(event.detail.successful ? "" : reason);
});
