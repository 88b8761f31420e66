// A button that interrupts the kernel: a message would wait until the cell has ended.
export default {
  render({ model, el }) {
    const kernel = model.widget_manager && model.widget_manager.kernel;
    if (!kernel || !kernel.interrupt) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "jupyter-button tfm-stop";
    button.textContent = model.get("words");
    button.onclick = () => {
      button.disabled = true;
      button.textContent = model.get("asked");
      kernel.interrupt();
    };
    el.append(button);
  },
};
