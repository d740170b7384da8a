//! The errors of `docs/troubleshooting.md`: each wrong program fails to compile, and its cure compiles.
//!
//! # 1. A reply of `'static`
//! ```compile_fail,E0308
//! use examples::helloworld::{Greeter, HelloReply, HelloRequest};
//! use grpc_service::{Cx, Status};
//! struct Polite;
//! impl Greeter for Polite {
//!     async fn say_hello(&self, _: &Cx<'_>, _: HelloRequest<'_>) -> Result<HelloReply<'static>, Status> {
//!         Ok(HelloReply { message: "Hello!", ..HelloReply::default() })
//!     }
//! }
//! ```
//! ```
//! use examples::helloworld::{Greeter, HelloReply, HelloRequest};
//! use grpc_service::{Cx, Status};
//! struct Polite;
//! impl Greeter for Polite {
//!     async fn say_hello(&self, _: &Cx<'_>, _: HelloRequest<'_>) -> Result<HelloReply<'_>, Status> {
//!         Ok(HelloReply { message: "Hello!", ..HelloReply::default() })
//!     }
//! }
//! ```
//!
//! # 2. A reply from the arena, with elided lifetimes
//! ```compile_fail
//! use examples::helloworld::{Greeter, HelloReply, HelloRequest};
//! use grpc_service::{Cx, Status};
//! struct Polite;
//! impl Greeter for Polite {
//!     async fn say_hello(&self, cx: &Cx<'_>, _: HelloRequest<'_>) -> Result<HelloReply<'_>, Status> {
//!         Ok(HelloReply { message: cx.arena().alloc_str("Hello!"), ..HelloReply::default() })
//!     }
//! }
//! ```
//! ```
//! use examples::helloworld::{Greeter, HelloReply, HelloRequest};
//! use grpc_service::{Cx, Status};
//! struct Polite;
//! impl Greeter for Polite {
//!     async fn say_hello<'a>(&self, cx: &Cx<'a>, _: HelloRequest<'a>) -> Result<HelloReply<'a>, Status> {
//!         Ok(HelloReply { message: cx.arena().alloc_str("Hello!"), ..HelloReply::default() })
//!     }
//! }
//! ```
//!
//! # 3. A request that does not live until its call is awaited
//! ```compile_fail,E0716
//! # use {examples::helloworld::{GreeterClient, HelloRequest}, grpc_service::{Arena, CallError}};
//! async fn call(client: &GreeterClient, arena: &Arena) -> Result<(), CallError> {
//!     let call = client.say_hello(&HelloRequest { name: &String::new(), ..HelloRequest::default() }, arena);
//!     call.await.map(|_| ())
//! }
//! ```
//! ```
//! # use {examples::helloworld::{GreeterClient, HelloRequest}, grpc_service::{Arena, CallError}};
//! async fn call(client: &GreeterClient, arena: &Arena) -> Result<(), CallError> {
//!     let request = HelloRequest { name: &String::new(), ..HelloRequest::default() };
//!     let call = client.say_hello(&request, arena);
//!     call.await.map(|_| ())
//! }
//! ```
//!
//! # 4. A response that is kept while the next one is asked for
//! ```compile_fail,E0499
//! # use {examples::routeguide::{RouteGuideClient, Rectangle}, grpc_service::{Arena, CallError}};
//! async fn names(client: &RouteGuideClient, area: &Rectangle<'_>) -> Result<usize, CallError> {
//!     let (mut arena, mut kept) = (Arena::new(), Vec::new());
//!     let mut stream = client.list_features(area).await?;
//!     while let Some(feature) = stream.next(&mut arena).await? {
//!         kept.push(feature.name);
//!     }
//!     Ok(kept.len())
//! }
//! ```
//! ```
//! # use {examples::routeguide::{RouteGuideClient, Rectangle}, grpc_service::{Arena, CallError}};
//! async fn names(client: &RouteGuideClient, area: &Rectangle<'_>) -> Result<usize, CallError> {
//!     let (mut arena, mut kept) = (Arena::new(), Vec::new());
//!     let mut stream = client.list_features(area).await?;
//!     while let Some(feature) = stream.next(&mut arena).await? {
//!         kept.push(feature.name.to_owned());
//!     }
//!     Ok(kept.len())
//! }
//! ```
//!
//! # 5. A call that would have to move to another thread
//! ```compile_fail
//! # use {examples::helloworld::{GreeterClient, HelloRequest}, grpc_service::Arena};
//! fn spawn(client: GreeterClient) {
//!     tokio::spawn(async move {
//!         let (request, arena) = (HelloRequest::default(), Arena::new());
//!         let _ = client.say_hello(&request, &arena).await;
//!     });
//! }
//! ```
//! ```
//! # use {examples::helloworld::{GreeterClient, HelloRequest}, grpc_service::Arena};
//! fn spawn(client: GreeterClient) {
//!     tokio::task::spawn_local(async move {
//!         let (request, arena) = (HelloRequest::default(), Arena::new());
//!         let _ = client.say_hello(&request, &arena).await;
//!     });
//! }
//! ```
