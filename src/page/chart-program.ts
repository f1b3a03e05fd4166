/** The program that draws the charts of a page: plain JavaScript, as it runs in browsers. It expects the global `uPlot`. */
export const CHART_PROGRAM = `
(() => {
  'use strict';
  const root = document.documentElement;
  const figures = [...document.querySelectorAll('figure.chart')];
  /** Lines differ without their colours too. */
  const DASHES = [[], [8, 4], [2, 3], [10, 3, 2, 3], [14, 6]];
  const markerOf = ([length]) => (length === undefined ? 'solid' : length < 3 ? 'dotted' : 'dashed');
  const charts = figures.map(prepare);

  function shown(value, suffix) {
    if (value === null || value === undefined || !Number.isFinite(value)) return '–';
    const size = Math.abs(value);
    if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2) + suffix;
    return (size >= 1000 ? value.toFixed(0) : String(Number(value.toPrecision(4)))) + suffix;
  }

  /** Ticks of an axis in one style, that of the largest. */
  function ticks(splits, suffix) {
    const largest = Math.max(...splits.map((value) => Math.abs(value ?? 0)));
    const isPlain = largest === 0 || (largest >= 1e-3 && largest < 1e6);
    return splits.map((value) => {
      if (value === null) return '';
      if (value === 0 || isPlain) return String(Number(value.toPrecision(4))) + suffix;
      return value.toExponential(1).replace('.0e', 'e') + suffix;
    });
  }

  /** Places of the ticks of a logarithmic axis: powers of ten, and what lies between if these are few. */
  function logSplits(min, max) {
    const [first, last] = [Math.floor(Math.log10(min)), Math.ceil(Math.log10(max))];
    const decades = Math.log10(max / min);
    const step = Math.ceil(decades / 8);
    const steps = decades > 3 ? [1] : decades > 1.5 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 6, 8];
    const splits = [];
    for (let power = first; power <= last; power += step) {
      for (const part of steps) splits.push(Number((part * 10 ** power).toPrecision(3)));
    }
    return splits.filter((value) => value >= min && value <= max);
  }

  /** A running mean with decaying weights, without the pull towards 0 at its start. */
  function smooth(values, weight) {
    let sum = 0;
    let norm = 0;
    return values.map((value) => {
      if (value === null) return null;
      sum = weight * sum + (1 - weight) * value;
      norm = weight * norm + (1 - weight);
      return sum / norm;
    });
  }

  function prepare(figure) {
    const data = JSON.parse(figure.querySelector('script').textContent);
    const plot = figure.querySelector('.plot');
    const readout = figure.querySelector('.readout');
    const slider = figure.querySelector('.smoothing');
    const logScale = figure.querySelector('.log-scale');
    let chart;

    function draw() {
      const styles = getComputedStyle(root);
      const color = (name) => styles.getPropertyValue('--' + name).trim();
      const isLog = logScale !== null && logScale.checked;
      const weight = slider === null ? 0 : Number(slider.value);
      const columns = [data.x];
      const series = [{ label: data.xLabel, value: (_, x) => (x === null ? '–' : String(Number(x.toPrecision(7)))) }];
      const add = (one, values, more) => {
        columns.push(isLog ? values.map((value) => (value > 0 ? value : null)) : values);
        series.push({
          label: one.name, width: 2, spanGaps: true, value: (_, value) => shown(value, data.suffix), ...more,
        });
      };
      for (const one of data.series) {
        const stroke = color('series-' + one.color);
        const known = one.values.filter((value) => value !== null).length;
        const points = { show: known <= 40, size: 5, fill: stroke };
        const dash = DASHES[one.color - 1] ?? [];
        if (one.isSparse) add(one, one.values, { stroke, dash: [6, 4], points: { show: true, size: 8, fill: stroke } });
        else if (one.canSmooth && weight > 0) {
          add(one, one.values, { stroke: stroke + '99', width: 1, points: { show: false } });
          add({ ...one, name: one.name + ', smoothed' }, smooth(one.values, weight), { stroke, dash, points: { show: false } });
        } else add(one, one.values, { stroke, dash, points });
      }
      const axis = { stroke: color('quiet'), font: '13px system-ui, sans-serif', labelFont: '13px system-ui, sans-serif',
        grid: { stroke: color('line'), width: 1 }, ticks: { stroke: color('line'), width: 1 } };
      const values = (_, splits) => ticks(splits, data.suffix);
      const yAxis = { ...axis, values, size: (_, texts) => 24 + 8 * Math.max(3, ...(texts || []).map((text) => text.length)) };
      if (isLog) Object.assign(yAxis, { splits: (_, index, min, max) => logSplits(min, max), filter: (_, splits) => splits });
      const options = {
        width: Math.max(200, plot.clientWidth), height: 240, series,
        scales: { x: { time: false }, y: isLog ? { distr: 3, log: 10 } : {} },
        axes: [{ ...axis, size: 32, label: data.xLabel, labelSize: 20, labelGap: 0 }, yAxis],
        legend: { markers: { width: 3, dash: (chart, i) => markerOf(chart.series[i].dash ?? []) } },
        cursor: { y: false, drag: { x: true, y: false }, points: { size: 8 } },
      };
      if (data.x.length === 1) options.scales.x.range = [data.x[0] - 1, data.x[0] + 1];
      const index = chart === undefined ? null : chart.cursor.idx;
      if (chart !== undefined) chart.destroy();
      chart = new uPlot(options, columns, plot);
      if (index !== null && index !== undefined) move(index);
    }

    function move(index) {
      const at = Math.max(0, Math.min(data.x.length - 1, index));
      chart.setCursor({ left: chart.valToPos(data.x[at], 'x'), top: 0 });
      return at;
    }

    plot.addEventListener('keydown', (event) => {
      const step = event.shiftKey ? 10 : 1;
      const idx = chart.cursor.idx;
      const moves = { ArrowLeft: (idx ?? data.x.length) - step, ArrowRight: (idx ?? -1) + step, Home: 0, End: data.x.length - 1 };
      if (!Object.hasOwn(moves, event.key)) return;
      event.preventDefault();
      const at = move(moves[event.key]);
      readout.textContent = data.xLabel + ' ' + data.x[at] + ': ' +
        data.series.map((one) => one.name + ' ' + shown(one.values[at], data.suffix)).join(', ');
    });
    if (slider !== null) slider.addEventListener('input', draw);
    if (logScale !== null) logScale.addEventListener('change', draw);
    let width = 0;
    new ResizeObserver(() => {
      if (plot.clientWidth === width) return;
      width = plot.clientWidth;
      if (width > 0) chart.setSize({ width: Math.max(200, width), height: 240 });
    }).observe(plot);
    draw();
    return draw;
  }

  const redraw = () => { for (const draw of charts) draw(); };
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
  addEventListener('beforeprint', () => { root.classList.add('on-paper'); redraw(); });
  addEventListener('afterprint', () => { root.classList.remove('on-paper'); redraw(); });
})();
`;
