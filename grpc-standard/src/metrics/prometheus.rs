//! The text format of Prometheus.

use std::fmt::{self, Write as _};

use grpc_service::Code;

use super::{Metrics, Series, Value};

impl Metrics {
    /// All series in the text format of Prometheus, 0.0.4: `text/plain; version=0.0.4; charset=utf-8`.
    ///
    /// Names are those that OpenTelemetry gives them there: `grpc_server_call_duration_seconds`.
    pub fn prometheus(&self) -> String {
        let mut page = String::new();
        // Writing to a string does not fail.
        let _ = write(&mut page, &self.collect());
        page
    }
}

fn write(page: &mut String, all: &[Series]) -> fmt::Result {
    let mut instrument = "";
    for series in all {
        let name = name_of(series);
        if series.instrument != instrument {
            instrument = series.instrument;
            let kind = match series.value {
                Value::Counter(_) => "counter",
                Value::Histogram { .. } => "histogram",
            };
            writeln!(page, "# HELP {name} {instrument}, in {} (gRFC A66)", series.unit)?;
            writeln!(page, "# TYPE {name} {kind}")?;
        }
        let labels = Labels(series);
        match &series.value {
            Value::Counter(count) => writeln!(page, "{name}{{{labels}}} {count}")?,
            Value::Histogram { bounds, buckets, sum } => {
                let mut below = 0;
                for (bound, bucket) in bounds.iter().zip(buckets) {
                    below += bucket;
                    writeln!(page, "{name}_bucket{{{labels},le=\"{bound}\"}} {below}")?;
                }
                let count: u64 = buckets.iter().sum();
                writeln!(page, "{name}_bucket{{{labels},le=\"+Inf\"}} {count}")?;
                writeln!(page, "{name}_sum{{{labels}}} {sum}")?;
                writeln!(page, "{name}_count{{{labels}}} {count}")?;
            }
        }
    }
    Ok(())
}

fn name_of(series: &Series) -> String {
    let suffix = match series.unit {
        "s" => "_seconds",
        "By" => "_bytes",
        _ => "_total",
    };
    series.instrument.replace('.', "_") + suffix
}

/// The labels of a series. Names of methods are those of a schema, which need no escapes.
struct Labels<'s>(&'s Series);

impl fmt::Display for Labels<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "grpc_method=\"{}\"", self.0.method)?;
        if let Some(target) = &self.0.target {
            let escaped = target.replace('\\', r"\\").replace('"', "\\\"").replace('\n', r"\n");
            write!(f, ",grpc_target=\"{escaped}\"")?;
        }
        match self.0.status.map(Code::name) {
            Some(status) => write!(f, ",grpc_status=\"{status}\""),
            None => Ok(()),
        }
    }
}
