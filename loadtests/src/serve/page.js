'use strict';
const data = JSON.parse(document.getElementById('data').textContent);
const form = document.getElementById('controls');
const element = (id) => document.getElementById(id);
let running = false;
let again = false;

function fillMemories(chosen) {
  const list = form.elements.task_memory_mib;
  const memories = data.sizes[form.elements.task_cpu.value] || [];
  list.replaceChildren(...memories.map((mib) => new Option(`${mib / 1024} GiB`, mib)));
  list.value = memories.includes(String(chosen)) ? String(chosen) : memories[0];
}

function set(values) {
  for (const [name, value] of Object.entries(values)) {
    if (name !== 'task_memory_mib' && form.elements[name]) form.elements[name].value = value;
  }
  fillMemories(values.task_memory_mib);
}

function query() {
  return new URLSearchParams(new FormData(form)).toString();
}

const about = (estimate, digits) =>
  estimate.half_width < 0.5 * 10 ** -digits
    ? estimate.mean.toFixed(digits)
    : `${estimate.mean.toFixed(digits)} ± ${estimate.half_width.toFixed(digits)}`;

// A number with its unit, and how sure it is, apart from each other.
function duration(seconds) {
  const [by, unit] = seconds.mean < 120 ? [1, 's'] : [60, 'min'];
  const half = seconds.half_width / by;
  return [`${(seconds.mean / by).toFixed(1)} ${unit}`, half < 0.05 ? '' : ` (± ${half.toFixed(1)} ${unit})`];
}

// A refusal names fields as the link does; whoever reads the page knows them by their labels.
function labelled(text) {
  return text.replace(/`(\w+)`/g, (whole, name) => {
    const label = form.elements[name]?.labels?.[0];
    return label ? `${label.firstChild.textContent.trim()} (${name})` : whole;
  });
}

function show(answer) {
  element('result').hidden = false;
  const verdict = element('verdict');
  verdict.className = `verdict ${answer.pass ? 'pass' : 'fail'}`;
  const word = document.createElement('b');
  word.textContent = answer.pass ? 'PASS' : 'FAIL';
  verdict.replaceChildren(word, ` ${about(answer.done_per_hour, 1)} generations an hour are done${answer.steady ? `, of ${answer.asked_per_hour.toFixed(0)} that come` : ''}.`);
  if (answer.misses.length) {
    const list = document.createElement('ul');
    list.id = 'misses';
    list.append(...answer.misses.map((miss) => Object.assign(document.createElement('li'), { textContent: miss })));
    verdict.append(list);
  }
  element('asked').textContent = `Asked: ${answer.asked}; promised: ${answer.promised}.`;
  const capacity = answer.capacity_per_hour;
  element('capacity').textContent = capacity < 100 ? capacity.toFixed(1) : Math.round(capacity).toLocaleString('en-US');
  const tasks = answer.tasks_max === 1 ? '1 task' : `${answer.tasks_max} tasks`;
  element('capacity-says').textContent = `generations/h at most with ${tasks}, limited by ${answer.bottleneck}; CPU used: ${Number(answer.cpu_percent.toPrecision(2))} %`;
  const [waited, sure] = duration(answer.wait_p95_s);
  const wait = answer.wait_p95_is_lower_bound ? `≥ ${waited}` : waited;
  element('wait').textContent = wait;
  element('wait-says').textContent = `one in twenty waits longer${sure}${answer.wait_p95_is_lower_bound ? '; more still waited when the day ended' : ''}`;
  element('lost').textContent = about(answer.lost, 0);
  element('cost').textContent = `$${answer.cost_usd_month.mean.toFixed(2)}`;
  for (const tile of document.querySelectorAll('.tile')) {
    const missed = answer.missed.includes(tile.dataset.key);
    tile.classList.toggle('fail', missed);
    tile.querySelector('em')?.remove();
    if (missed) tile.querySelector('span').prepend(Object.assign(document.createElement('em'), { textContent: 'MISSED ' }));
  }
  element('short').textContent = `${word.textContent} · wait ${wait} · lost ${answer.lost.mean.toFixed(0)} · $${answer.cost_usd_month.mean.toFixed(0)}`;
  element('short').className = answer.pass ? 'pass' : 'fail';
  element('notes').replaceChildren(...answer.notes.map((note) => Object.assign(document.createElement('p'), { textContent: note })));
  element('day').innerHTML = answer.day;
  element('bill').replaceChildren(...answer.bill.map(([line, usd]) => {
    const row = document.createElement('tr');
    row.append(
      Object.assign(document.createElement('td'), { textContent: line }),
      Object.assign(document.createElement('td'), { textContent: usd.toFixed(2), className: 'n' }),
    );
    return row;
  }));
  element('tfvars').textContent = answer.tfvars;
  element('load').hidden = !answer.slo;
  element('slo').textContent = answer.slo || '';
  element('command').textContent = answer.command;
}

// One question at a time: what changes meanwhile is asked when the answer is there, and only its last state.
async function ask(link) {
  if (running) {
    again = true;
    return;
  }
  running = true;
  const began = performance.now();
  const asked = link || query();
  history.replaceState(null, '', `?${asked}`);
  element('result').setAttribute('aria-busy', 'true');
  try {
    const response = await fetch(`/answer?${asked}`);
    if (response.ok) {
      show(await response.json());
      element('problem').textContent = '';
    } else {
      element('problem').textContent = labelled(await response.text());
    }
  } catch {
    element('problem').textContent = 'The lab does not answer: is `cargo sizing serve` still running?';
  }
  running = false;
  element('result').dataset.redrawnMs = performance.now() - began;
  if (again) {
    again = false;
    ask();
    return;
  }
  element('result').setAttribute('aria-busy', 'false');
}

form.addEventListener('input', (event) => {
  if (event.target.name === 'stage') set(data.presets[event.target.value]);
  if (event.target.name === 'task_cpu') fillMemories(form.elements.task_memory_mib.value);
  if (form.checkValidity()) {
    ask();
  } else {
    const wrong = form.querySelector(':invalid');
    element('problem').textContent = `${wrong.labels[0].textContent.trim()}: ${wrong.validationMessage}`;
  }
});
form.addEventListener('submit', (event) => event.preventDefault());

async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    element('copied').textContent = `${what} copied`;
  } catch {
    element('copied').textContent = 'The browser does not allow copying: select the text instead';
  }
}
element('copy').addEventListener('click', () => copy(element('tfvars').textContent, 'tfvars'));
element('copy-slo').addEventListener('click', () => copy(element('slo').textContent, 'load'));
element('copy-command').addEventListener('click', () => copy(element('command').textContent, 'command'));
element('link').addEventListener('click', () => copy(location.href, 'link'));

form.elements.task_cpu.replaceChildren(...Object.keys(data.sizes).sort((a, b) => a - b).map((units) => new Option(String(units / 1024), units)));
const given = Object.fromEntries(new URLSearchParams(location.search));
set({ ...(data.presets[given.stage] || data.presets.proposal), ...given });
// A whole link as it is: what no control can show is refused by name, not passed over.
ask(Object.keys(given).length > 1 ? location.search.slice(1) : '');
