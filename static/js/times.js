// A moment is shown as its age; its title says it exactly, in the reader's time zone.
document.addEventListener("mouseover", (event) => {
  const time = event.target.closest?.("time[datetime]");
  if (!time || time.dataset.isLocal) return;
  time.dataset.isLocal = "yes";
  time.title = new Date(time.dateTime).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
});

// In a log it is shown as the reader's clock showed it.
const showClocks = () => {
  for (const time of document.querySelectorAll("time[data-clock]")) {
    delete time.dataset.clock;
    time.textContent = new Date(time.dateTime).toLocaleTimeString("en-GB");
  }
};

document.addEventListener("DOMContentLoaded", showClocks);
document.addEventListener("htmx:afterSettle", showClocks);
