// The same questions as a kernel answers, answered from what is in the page.

function answersFrom(data) {
  const parents = data.parents;

  function around(id) {
    const found = [];
    for (let name = parents[id]; name !== undefined; name = parents[name]) found.unshift(name);
    return found;
  }

  function starts(id) {
    if (id.startsWith("o")) return [id];
    if (data.starts[id]) return data.starts[id];
    return Object.keys(data.next).filter((op) => around(op).includes(id));
  }

  return async (kind, content) => {
    if (kind === "level") return { levels: { [content.fold]: data.levels[content.fold] } };
    if (kind === "search") {
      const wanted = content.text.trim().toLowerCase();
      const found = [];
      for (const [id, title] of data.titles) {
        if (title.toLowerCase().includes(wanted)) found.push({ id, title });
        if (found.length === 50) break;
      }
      return { found };
    }
    if (kind === "reveal") {
      const home = data.homes[content.id] || parents[content.id];
      const open = [...around(home), home].filter((name) => data.levels[name]);
      return { around: open, home, levels: Object.fromEntries(open.map((name) => [name, data.levels[name]])) };
    }
    if (kind === "way") {
      const ids = new Set();
      const from = starts(content.id).find((op) => data.next[op] !== undefined);
      if (from) ids.add(content.id);
      for (let op = from; op; op = data.next[op]) {
        ids.add(op);
        for (const name of around(op)) ids.add(name);
      }
      return { ids: [...ids], verdict: data.verdicts[content.id] || "" };
    }
    return {};
  };
}

const data = JSON.parse(document.getElementById("tfmagic-data").textContent);
showGraph(document.getElementById("tfmagic-graph"), answersFrom(data), data.first);
