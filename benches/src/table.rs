//! The measuring loop and the table that it prints.

use std::fmt::Write as _;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

/// One benchmark program: reads its arguments, prints the head of the table, and makes cases.
///
/// Arguments after `--`: words select the cases whose names contain one of them; `--only NAME` leaves one contender;
/// `--rounds N` and `--round-ms N` set how often and how long each contender of a case runs. Without cargo's own `--bench` (that is, under `cargo test`) every
/// contender runs for an instant only, so that the programs stay correct without costing time.
pub struct Bench {
    filters: Vec<String>,
    only: Option<String>,
    rounds: usize,
    round: Duration,
}

impl Bench {
    /// Starts a benchmark whose figures are in `unit`, with `rounds` rounds of about `round` for each contender.
    pub fn new(title: &str, unit: &str, rounds: usize, round: Duration) -> Self {
        let mut bench = Self { filters: Vec::new(), only: None, rounds, round };
        let mut measuring = false;
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut number = || {
                arguments
                    .next()
                    .and_then(|n| n.parse::<u64>().ok())
                    .expect("a number after the option")
            };
            match argument.as_str() {
                "--bench" => measuring = true,
                "--only" => bench.only = arguments.next(),
                "--rounds" => bench.rounds = number().max(1) as usize,
                "--round-ms" => bench.round = Duration::from_millis(number()),
                option if option.starts_with("--") => {}
                filter => bench.filters.push(filter.to_owned()),
            }
        }
        if !measuring {
            (bench.rounds, bench.round) = (1, Duration::ZERO);
        }
        println!("{title}: {unit}, medians of {} rounds", bench.rounds);
        println!(
            "(× is how many times our figure goes into the peer's in the same round; above 1, we are cheaper)\n"
        );
        bench
    }

    /// Whether figures are wanted, as against a run that only shows that the program works.
    pub fn measures(&self) -> bool {
        !self.round.is_zero()
    }

    /// How long one round of one contender should take.
    pub fn round(&self) -> Duration {
        self.round
    }

    /// Whether the command line selects the case of this name; ask it before an expensive set-up.
    pub fn selects(&self, name: &str) -> bool {
        self.filters.is_empty() || self.filters.iter().any(|filter| name.contains(filter.as_str()))
    }

    /// A new case, to which contenders are added before it runs.
    pub fn case<'a>(&'a self, name: impl Into<String>) -> Case<'a> {
        self.case_of(name, &[""])
    }

    /// A new case whose rounds give several figures each, with a line for each of `parts`.
    pub fn case_of<'a>(&'a self, name: impl Into<String>, parts: &'a [&'a str]) -> Case<'a> {
        Case { bench: self, name: name.into(), parts, contenders: Vec::new() }
    }
}

/// What one contender's round gave: a figure for each part of its case, or the reason why there is none.
type Figures = Result<Vec<f64>, String>;

struct Contender<'a> {
    name: &'a str,
    ours: bool,
    round: Box<dyn FnMut() -> Figures + 'a>,
    /// One list a round.
    figures: Vec<Vec<f64>>,
    failure: Option<String>,
}

/// The same work done by several contenders.
pub struct Case<'a> {
    bench: &'a Bench,
    name: String,
    parts: &'a [&'a str],
    contenders: Vec<Contender<'a>>,
}

impl<'a> Case<'a> {
    /// Adds our side: `work(n)` does `n` units of the work, of which the table shows the time of one.
    pub fn ours(self, name: &'a str, work: impl FnMut(u64) + 'a) -> Self {
        self.timed(name, true, work)
    }

    /// Adds a peer: `work(n)` does `n` units of the same work.
    pub fn peer(self, name: &'a str, work: impl FnMut(u64) + 'a) -> Self {
        self.timed(name, false, work)
    }

    /// Adds our side with a figure that it takes by itself, once a round.
    pub fn ours_measured(
        self,
        name: &'a str,
        mut round: impl FnMut() -> Result<f64, String> + 'a,
    ) -> Self {
        self.contender(name, true, Box::new(move || Ok(vec![round()?])))
    }

    /// Adds a peer with a figure that it takes by itself, once a round; a reason in its place ends its rounds.
    pub fn peer_measured(
        self,
        name: &'a str,
        mut round: impl FnMut() -> Result<f64, String> + 'a,
    ) -> Self {
        self.contender(name, false, Box::new(move || Ok(vec![round()?])))
    }

    /// Adds a contender, ours or a peer, whose rounds give a figure for each part of the case.
    pub fn figures(
        self,
        name: &'a str,
        ours: bool,
        round: impl FnMut() -> Result<Vec<f64>, String> + 'a,
    ) -> Self {
        self.contender(name, ours, Box::new(round))
    }

    /// Runs all rounds, contenders taking turns, and prints a line for each part; does nothing if the case is not selected.
    pub fn run(self) {
        if self.bench.selects(&self.name) {
            self.run_rounds().iter().for_each(|line| println!("{line}"));
        }
    }

    fn run_rounds(mut self) -> Vec<String> {
        for round in 0..self.bench.rounds {
            // The first candidate after a pause pays for cold caches, so the order rotates.
            let first = round % self.contenders.len().max(1);
            let (late, early) = self.contenders.split_at_mut(first);
            for contender in early.iter_mut().chain(late) {
                if contender.failure.is_some() {
                    continue;
                }
                match (contender.round)() {
                    Ok(figures) => contender.figures.push(figures),
                    Err(reason) => contender.failure = Some(reason),
                }
            }
        }
        (0..self.parts.len()).map(|part| self.line(part)).collect()
    }

    fn timed(self, name: &'a str, ours: bool, mut work: impl FnMut(u64) + 'a) -> Self {
        let target = self.bench.round;
        let mut units = 0;
        let round = move || {
            if units == 0 {
                units = calibrate(target, &mut work);
            }
            let start = processor_time();
            work(units);
            Ok(vec![(processor_time() - start).as_nanos() as f64 / units as f64])
        };
        self.contender(name, ours, Box::new(round))
    }

    fn contender(
        mut self,
        name: &'a str,
        ours: bool,
        round: Box<dyn FnMut() -> Figures + 'a>,
    ) -> Self {
        if self.bench.only.as_deref().is_none_or(|only| only == name) {
            let (figures, failure) = (Vec::new(), None);
            self.contenders.push(Contender { name, ours, round, figures, failure });
        }
        self
    }

    fn line(&self, part: usize) -> String {
        let name = match self.parts[part] {
            "" => self.name.clone(),
            part => format!("{}, {part}", self.name),
        };
        let mut line = format!("{name:<28}");
        let mut base: Vec<Vec<f64>> = Vec::new();
        for contender in &self.contenders {
            let figures: Vec<f64> = contender.figures.iter().map(|round| round[part]).collect();
            let _ = match (&contender.failure, median(&figures)) {
                (Some(reason), _) => write!(line, " | {} {reason}", contender.name),
                (None, None) => write!(line, " | {} -", contender.name),
                (None, Some(figure)) if contender.ours => {
                    base.push(figures);
                    write!(line, " | {} {}", contender.name, rounded(figure))
                }
                (None, Some(figure)) => {
                    let ratios: String = base
                        .iter()
                        .filter_map(|ours| ratio(&figures, ours))
                        .map(|ratio| format!(" {ratio:.2}×"))
                        .collect();
                    write!(line, " | {} {}{ratios}", contender.name, rounded(figure))
                }
            };
        }
        line
    }
}

/// Warms `work` up and finds how many units of it take about `target`.
fn calibrate(target: Duration, work: &mut impl FnMut(u64)) -> u64 {
    let mut units = 1;
    loop {
        let start = processor_time();
        work(units);
        let elapsed = processor_time() - start;
        if elapsed >= target / 4 {
            let scale = target.as_nanos() as f64 / elapsed.as_nanos().max(1) as f64;
            return ((units as f64 * scale) as u64).max(1);
        }
        units *= 2;
    }
}

/// Processor time of this thread: contenders run on it alone, and what other programs take does not count.
fn processor_time() -> Duration {
    let time =
        clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("every thread has this clock");
    Duration::from(time)
}

/// How many times our figure goes into the peer's: in the middle of the rounds, each of which has its own ratio, as what
/// disturbs a round disturbs both of its sides. None where a figure of ours is zero.
fn ratio(peer: &[f64], ours: &[f64]) -> Option<f64> {
    let ratio = median(&peer.iter().zip(ours).map(|(peer, ours)| peer / ours).collect::<Vec<_>>());
    ratio.filter(|ratio| ratio.is_finite())
}

fn median(figures: &[f64]) -> Option<f64> {
    let mut figures = figures.to_vec();
    figures.sort_by(f64::total_cmp);
    let middle = figures.len() / 2;
    match figures.len() {
        0 => None,
        odd if odd % 2 == 1 => Some(figures[middle]),
        _ => Some((figures[middle - 1] + figures[middle]) / 2.0),
    }
}

fn rounded(figure: f64) -> String {
    match figure {
        tiny if tiny < 1.0 => format!("{tiny:.3}"),
        small if small < 10.0 => format!("{small:.2}"),
        medium if medium < 100.0 => format!("{medium:.1}"),
        large => format!("{large:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_ignores_one_wild_round() {
        assert_eq!(median(&[1.0, 900.0, 3.0]), Some(3.0));
        assert_eq!(median(&[4.0, 2.0]), Some(3.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_ratio_is_taken_in_each_round_and_so_outlives_a_machine_that_slows_down() {
        let (ours, peer) = ([10.0, 20.0, 30.0], [25.0, 50.0, 75.0]);
        assert_eq!(ratio(&peer, &ours), Some(2.5));
        // The medians alone would say 80 to 20.
        assert_eq!(ratio(&[20.0, 80.0, 90.0], &[10.0, 20.0, 45.0]), Some(2.0));
        assert_eq!(ratio(&[], &ours), None);
        assert_eq!(ratio(&[1.0], &[0.0]), None);
    }

    #[test]
    fn a_case_of_two_parts_has_a_line_for_each() {
        let bench = Bench { filters: Vec::new(), only: None, rounds: 1, round: Duration::ZERO };
        let case = bench
            .case_of("1 KiB", &["server", "client"])
            .figures("ours", true, || Ok(vec![2.0, 0.25]))
            .figures("peer", false, || Ok(vec![3.0, 0.5]));
        let lines = case.run_rounds();
        assert!(lines[0].starts_with("1 KiB, server "), "{}", lines[0]);
        assert!(lines[0].ends_with("| ours 2.00 | peer 3.00 1.50×"), "{}", lines[0]);
        assert!(lines[1].ends_with("| ours 0.250 | peer 0.500 2.00×"), "{}", lines[1]);
    }

    #[test]
    fn a_line_shows_every_figure_and_each_peer_as_a_multiple_of_ours() {
        let bench = Bench { filters: Vec::new(), only: None, rounds: 1, round: Duration::ZERO };
        let case = bench
            .case("100 B")
            .ours_measured("ours", || Ok(50.0))
            .peer_measured("slow", || Ok(200.0))
            .peer_measured("stuck", || Err("stalls".into()));
        let [line] = &case.run_rounds()[..] else { panic!("one part has one line") };
        assert!(line.starts_with("100 B "), "{line}");
        assert!(line.ends_with("| ours 50.0 | slow 200 4.00× | stuck stalls"), "{line}");
    }
}
