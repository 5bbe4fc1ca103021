// A moment is shown as its age; its title says it exactly, in the reader's time zone.
document.addEventListener("mouseover", (event) => {
  const time = event.target.closest?.("time[datetime]");
  if (!time || time.dataset.isLocal) return;
  time.dataset.isLocal = "yes";
  time.title = new Date(time.dateTime).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "long" });
});
