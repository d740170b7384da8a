//! The route guide: a service with all four kinds of call, and a client that makes them.
//!
//! It uses no sockets and no runtime, so it runs over any adapter, and in the simulator.

use std::cell::RefCell;
use std::collections::HashMap;

use grpc_service::server::{BidiCall, ClientStreamingCall};
use grpc_service::{Arena, CallError, Channel, Cx, Instant, Sink, Status};

use crate::routeguide::{
    Feature, Point, Rectangle, RouteGuide, RouteGuideClient, RouteNote, RouteSummary,
};

/// A position, as stored.
type Position = (i32, i32);

/// The features: names and positions.
const FEATURES: &[(&str, Position)] = &[
    ("Kap Arkona", (546_786_000, 134_323_000)),
    ("Königsstuhl", (545_731_000, 136_632_000)),
    ("Jasmund", (545_497_000, 136_130_000)),
    ("Hiddensee", (545_520_000, 131_050_000)),
    ("Rügen", (544_200_000, 134_000_000)),
    ("Stralsund", (543_091_000, 130_818_000)),
    ("Greifswald", (540_931_000, 133_879_000)),
    ("Usedom", (538_703_000, 139_234_000)),
];

/// A route guide.
#[derive(Debug, Default)]
pub struct Guide {
    /// Notes by place. Calls come and go; the notes stay.
    notes: RefCell<HashMap<Position, Vec<String>>>,
}

impl RouteGuide for Guide {
    async fn get_feature<'a>(
        &self,
        cx: &Cx<'a>,
        request: Point<'a>,
    ) -> Result<Feature<'a>, Status> {
        let here = position(Some(&request));
        let name = FEATURES.iter().find(|(_, place)| *place == here).map_or("", |(name, _)| name);
        // A feature refers to its location, so that lives in the arena.
        let location = Some(&*cx.arena().alloc(request));
        Ok(Feature { name, location, ..Feature::default() })
    }

    async fn list_features<'a>(
        &self,
        _cx: &Cx<'a>,
        request: Rectangle<'a>,
        out: &mut Sink<'_, Feature<'static>>,
    ) -> Result<(), Status> {
        let (lo, hi) = (position(request.lo), position(request.hi));
        let latitudes = lo.0.min(hi.0)..=lo.0.max(hi.0);
        let longitudes = lo.1.min(hi.1)..=lo.1.max(hi.1);
        for (name, (latitude, longitude)) in FEATURES {
            if latitudes.contains(latitude) && longitudes.contains(longitude) {
                // An item is encoded at once, so it may borrow from the stack.
                let location = point((*latitude, *longitude));
                let feature = Feature { name, location: Some(&location), ..Feature::default() };
                out.send(&feature).await?;
            }
        }
        Ok(())
    }

    type RecordRoute<'s> = Recording;

    async fn record_route(&self, cx: &Cx<'_>) -> Result<Recording, Status> {
        Ok(Recording { started: cx.now(), last: None, points: 0, features: 0, metres: 0.0 })
    }

    type RouteChat<'s> = Chat<'s>;

    async fn route_chat(&self, _cx: &Cx<'_>) -> Result<Chat<'_>, Status> {
        Ok(Chat { guide: self })
    }
}

/// One call of `record_route`.
#[derive(Debug)]
pub struct Recording {
    started: Instant,
    last: Option<Position>,
    points: i32,
    features: i32,
    metres: f64,
}

impl ClientStreamingCall<Point<'static>, RouteSummary<'static>> for Recording {
    async fn on_message<'a>(&mut self, _cx: &Cx<'a>, message: Point<'a>) -> Result<(), Status> {
        let here = position(Some(&message));
        self.points += 1;
        self.features += i32::from(FEATURES.iter().any(|(_, place)| *place == here));
        self.metres += self.last.map_or(0.0, |last| metres(last, here));
        self.last = Some(here);
        Ok(())
    }

    async fn finish<'a>(self, cx: &Cx<'a>) -> Result<RouteSummary<'a>, Status> {
        Ok(RouteSummary {
            point_count: self.points,
            feature_count: self.features,
            distance: self.metres as i32,
            elapsed_time: (cx.now() - self.started).as_secs() as i32,
            ..RouteSummary::default()
        })
    }
}

/// One call of `route_chat`.
#[derive(Debug)]
pub struct Chat<'s> {
    guide: &'s Guide,
}

impl BidiCall<RouteNote<'static>, RouteNote<'static>> for Chat<'_> {
    async fn on_message<'a>(
        &self,
        cx: &Cx<'a>,
        message: RouteNote<'a>,
        out: &mut Sink<'_, RouteNote<'static>>,
    ) -> Result<(), Status> {
        let here = position(message.location);
        // Leave the map before any await: another call may need it meanwhile.
        let earlier: &[&str] = {
            let mut notes = self.guide.notes.borrow_mut();
            let notes = notes.entry(here).or_default();
            let earlier: Vec<&str> = notes.iter().map(|note| cx.arena().alloc_str(note)).collect();
            notes.push(message.message.to_owned());
            cx.arena().alloc_slice(&earlier)
        };
        for text in earlier {
            let note =
                RouteNote { location: message.location, message: text, ..RouteNote::default() };
            out.send(&note).await?;
        }
        Ok(())
    }
}

/// Makes a call of each kind and passes the results to `print`, line by line.
///
/// # Errors
/// The error of the first call that fails.
pub async fn tour(channel: Channel, mut print: impl FnMut(String)) -> Result<(), CallError> {
    let guide = RouteGuideClient::new(channel);
    let mut arena = Arena::new();

    for place in [(544_200_000, 134_000_000), (0, 0)] {
        let feature = guide.get_feature(&point(place), &arena).await?;
        let name = if feature.name.is_empty() { "nothing" } else { feature.name };
        print(format!("{name} at {:?}", position(feature.location)));
    }

    let (lo, hi) = (point((545_000_000, 131_000_000)), point((547_000_000, 137_000_000)));
    let rectangle = Rectangle { lo: Some(&lo), hi: Some(&hi), ..Rectangle::default() };
    let mut features = guide.list_features(&rectangle).await?;
    while let Some(feature) = features.next(&mut arena).await? {
        print(format!("there is {} at {:?}", feature.name, position(feature.location)));
    }

    let mut route = guide.record_route().await?;
    for (_, place) in FEATURES {
        route.send(&point(*place)).await?;
    }
    let summary = route.finish(&arena).await?;
    print(format!(
        "{} points, {} features, {} m",
        summary.point_count, summary.feature_count, summary.distance
    ));

    let (mut notes, mut answers) = guide.route_chat().await?.split();
    for text in ["first", "second", "third"] {
        let location = point((1, 1));
        let note = RouteNote { location: Some(&location), message: text, ..RouteNote::default() };
        notes.send(&note).await?;
    }
    notes.end();
    while let Some(note) = answers.next(&mut arena).await? {
        print(format!("at {:?} was noted: {}", position(note.location), note.message));
    }
    Ok(())
}

fn point((latitude, longitude): Position) -> Point<'static> {
    Point { latitude, longitude, ..Point::default() }
}

fn position(point: Option<&Point<'_>>) -> Position {
    point.map_or((0, 0), |point| (point.latitude, point.longitude))
}

/// The distance along a great circle.
fn metres(from: Position, to: Position) -> f64 {
    let radians = |degrees: i32| (f64::from(degrees) / 1e7).to_radians();
    let (lat1, lat2) = (radians(from.0), radians(to.0));
    let (dlat, dlon) = (lat2 - lat1, radians(to.1) - radians(from.1));
    let a = (dlat / 2.0).sin().powi(2) + lat1.cos() * lat2.cos() * (dlon / 2.0).sin().powi(2);
    2.0 * 6_371_000.0 * a.sqrt().asin()
}
