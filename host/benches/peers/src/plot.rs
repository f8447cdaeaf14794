//! The plot: one panel a work, one bar a contender, how many times as good as the first on a logarithmic axis.

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::report::Table;
use crate::rounds::Figures;
use crate::statistics::short;

const WIDTH: u32 = 900;
const ROW_PIXELS: u32 = 24;
/// A panel's title and axis.
const HEAD_PIXELS: u32 = 70;
const NAME_PIXELS: u32 = 260;
const FONT: &str = "sans-serif";
const COBUF: RGBColor = RGBColor(0x1f, 0x77, 0xb4);
const OTHERS: RGBColor = RGBColor(0xa0, 0xa0, 0xa0);

/// An SVG file's text.
pub(crate) fn svg(tables: &[Table]) -> Result<String> {
    let mut text = String::new();
    let heights: Vec<u32> =
        tables.iter().map(|table| HEAD_PIXELS + ROW_PIXELS * table.rows.len() as u32).collect();
    {
        let area = SVGBackend::with_string(&mut text, (WIDTH, heights.iter().sum())).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let mut rest = area.clone();
        for (table, height) in tables.iter().zip(heights) {
            let (panel, below) = rest.split_vertically(height);
            draw(&panel, table)?;
            rest = below;
        }
        area.present().map_err(failed)?;
    }
    Ok(text)
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn draw(panel: &Area<'_>, table: &Table) -> Result<()> {
    let rows = table.rows.len() as i32;
    let (least, most) = bounds(&table.rows);
    let base = table.rows.first().map_or("", |row| &row.name);
    let title = format!("{} ({}): how many times as good as {base}", table.work, table.unit);
    let mut chart = ChartBuilder::on(panel)
        .caption(title, (FONT, 16))
        .margin_right(110)
        .x_label_area_size(28)
        .y_label_area_size(NAME_PIXELS)
        .build_cartesian_2d((least..most).log_scale(), (0..rows).into_segmented())
        .map_err(failed)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .light_line_style(TRANSPARENT)
        .x_label_formatter(&|ratio| power_of_ten(*ratio))
        .y_labels(table.rows.len() + 1)
        .y_label_formatter(&|place| name_at(&table.rows, place))
        .label_style((FONT, 13))
        .draw()
        .map_err(failed)?;
    for (place, row) in (0..rows).rev().zip(&table.rows) {
        let Some(ratio) = row.ratio else { continue };
        let colour = if row.name.starts_with("cobuf") { COBUF } else { OTHERS };
        let (lower, upper) = (SegmentValue::Exact(place), SegmentValue::Exact(place + 1));
        let mut bar = Rectangle::new([(least, lower), (ratio.median, upper)], colour.filled());
        bar.set_margin(4, 4, 0, 0);
        let centre = SegmentValue::CenterOf(place);
        let spread = PathElement::new(
            [(ratio.min, centre.clone()), (ratio.max, centre.clone())],
            BLACK.stroke_width(2),
        );
        let label =
            format!("{} {}", row.value.map_or_else(String::new, |value| short(value.median)), table.unit);
        let label = EmptyElement::at((ratio.max, centre)) + Text::new(label, (6, -6), (FONT, 12));
        chart.draw_series([bar]).map_err(failed)?;
        chart.draw_series([spread]).map_err(failed)?;
        chart.draw_series([label]).map_err(failed)?;
    }
    Ok(())
}

/// The ends of a panel's axis: powers of ten around all ratios.
fn bounds(rows: &[Figures]) -> (f64, f64) {
    let ratios = || rows.iter().filter_map(|row| row.ratio);
    let least = ratios().map(|ratio| ratio.min).fold(1.0, f64::min);
    let most = ratios().map(|ratio| ratio.max).fold(1.0, f64::max);
    (10_f64.powf((least.log10() - 0.01).floor()), 10_f64.powf((most.log10() + 0.01).ceil()))
}

/// A place on the axis, without the zeros behind it: 0.01, 1, 100.
fn power_of_ten(ratio: f64) -> String {
    format!("1e{}", ratio.log10().round()).parse::<f64>().unwrap_or(ratio).to_string()
}

/// The first row is on top.
fn name_at(rows: &[Figures], place: &SegmentValue<i32>) -> String {
    let (SegmentValue::CenterOf(place) | SegmentValue::Exact(place)) = place else { return String::new() };
    let row = usize::try_from(*place).ok().and_then(|place| rows.iter().rev().nth(place));
    row.map_or_else(String::new, |row| row.name.clone())
}

fn failed(error: impl std::error::Error) -> anyhow::Error {
    anyhow!("cannot draw the plot: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::statistics::Spread;
    use crate::work::Work;

    fn row(name: &str, ratio: Option<f64>) -> Figures {
        let spread = Spread::of(ratio);
        Figures {
            name: name.to_owned(),
            setting: String::new(),
            value: spread,
            ratio: spread,
            failures: Vec::new(),
        }
    }

    #[test]
    fn are_all_contenders_drawn_also_one_that_failed() {
        let rows = vec![row("cobuf, in order", Some(1.0)), row("slow", Some(0.004)), row("dead", None)];
        let text = svg(&[Table { work: Work::Tiny, unit: "µs a batch", rows }]).unwrap();
        for name in ["cobuf, in order", "slow", "dead", "tiny"] {
            assert!(text.contains(name), "{name} is not in {text}");
        }
    }

    #[test]
    fn is_every_ratio_within_the_axis() {
        assert_eq!([0.01, 10.0 * 0.1, 1e3].map(power_of_ten), ["0.01", "1", "1000"]);
        assert_eq!(bounds(&[row("a", Some(1.0)), row("b", Some(0.004))]), (0.001, 10.0));
        assert_eq!(bounds(&[]), (0.1, 10.0));
    }
}
