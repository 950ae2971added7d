//! The tables that a run prints.

use upshift_micro::{Chain, Operands, Shape, TIERS};

use crate::execution::DEPTHS;
use crate::report::{Figure, Figures, table, time};
use crate::{compile, transitions};

/// Prints them.
pub fn print(figures: &Figures) {
    for shape in compile::SHAPES {
        let head = |what: &str| {
            std::iter::once(what.to_string())
                .chain(compile::SIZES.iter().map(u64::to_string))
                .collect::<Vec<_>>()
        };
        let row = |label: &str, group: &str, name: &str| {
            let cell = |&size: &u64| figures.get(group, name, size).map_or("-".into(), |f| time(f.each()));
            std::iter::once(label.to_string()).chain(compile::SIZES.iter().map(cell)).collect::<Vec<_>>()
        };
        let layout = match shape {
            Shape::Functions => "many functions",
            Shape::OneFunction => "one function",
        };
        let rows: Vec<_> = compile::PHASES.iter().map(|(name, _)| row(name, name, shape.name())).collect();
        table(
            &format!("Compiling {layout}, per instruction of bytecode, by the program's size"),
            &head("phase"),
            &rows,
        );
        let rows: Vec<_> = compile::OPTIMIZER
            .iter()
            .map(|(name, unit)| {
                row(
                    &format!("{name}, per instruction of {unit}"),
                    "optimizer",
                    &format!("{name}/{}", shape.name()),
                )
            })
            .collect();
        table(&format!("The optimizer, {layout}"), &head("phase"), &rows);
    }
    for chain in Chain::ALL {
        for operands in Operands::ALL {
            let group = format!("{} {}", chain.name(), operands.name());
            let rows: Vec<Vec<String>> = DEPTHS[1..]
                .iter()
                .map(|&depth| {
                    let cell = |(tier, _): &(&str, _)| {
                        let turn = figures.get(&group, tier, depth as u64).map(Figure::each);
                        let empty = figures.get(&group, tier, 0).map(Figure::each);
                        match turn.zip(empty) {
                            Some((turn, empty)) => {
                                format!("{} ({})", time(turn), time((turn - empty) / depth as f64))
                            }
                            None => "-".into(),
                        }
                    };
                    std::iter::once(depth.to_string()).chain(TIERS.iter().map(cell)).collect()
                })
                .collect();
            let mut head = vec!["operators".to_string()];
            head.extend(TIERS.iter().map(|t| t.0.to_string()));
            let title = format!("A chain, {group}: a turn of the loop around it (and for each operator)");
            table(&title, &head, &rows);
        }
    }
    transitions::print(figures);
}
