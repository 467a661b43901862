// The page in a frame of a notebook. The kernel answers what it asks; until it does, as where a notebook
// is only read, the page that stands before it in the notebook is shown instead.

export default {
  render({ model, el }) {
    const frame = document.createElement("iframe"), view = crypto.getRandomValues(new Uint32Array(4)).join("");
    frame.setAttribute("sandbox", "allow-scripts allow-downloads");
    Object.assign(frame.style, { width: "100%", height: `${model.get("height")}px`, border: "0", display: "none" });
    frame.srcdoc = model.get("page");

    const asked = ({ source, data }) => {
      if (source === frame.contentWindow) model.send({ ...data, view });
    };
    const answered = (said, buffers) => {
      if (said.view !== view) return;
      document.getElementById(model.get("before"))?.remove();
      frame.style.display = "block";
      const [found] = buffers ?? [];
      const answer = found && found.buffer.slice(found.byteOffset, found.byteOffset + found.byteLength);
      frame.contentWindow?.postMessage({ number: said.number, error: said.error, answer }, "*");
    };
    addEventListener("message", asked);
    model.on("msg:custom", answered);
    el.append(frame);
    return () => {
      removeEventListener("message", asked);
      model.off("msg:custom", answered);
    };
  },
};
