// The live picture in a panel: questions go to the kernel.
export default {
  render: (context) => openPanel(context, (root, panel, first) => {
    const graph = showGraph(root, (kind, content) => panel.send(kind, content), first);
    return { remove: graph.remove };
  }),
};
