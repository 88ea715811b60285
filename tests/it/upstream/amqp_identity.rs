//! AMQP 0-9-1: who we are to RabbitMQ, by password and by certificate, and who it is to us.

use forebay::upstream::amqp::Connection;
use forebay::upstream::error::{UpstreamError, Verdict};
use forebay::upstream::message::Answer;
use forebay::upstream::settings::{AmqpSettings, Login, Secret, TlsSettings};

use super::amqp::{answer, message, of, refusal, settings};
use crate::harness::certs::{Certs, Identity};
use crate::harness::rabbitmq::RabbitMq;

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn strangers_are_told_apart() {
    let broker = RabbitMq::shared();
    let login = |password: &str| {
        Some(Login {
            username: "guest".to_owned(),
            password: Some(Secret::Plain(password.to_owned())),
        })
    };
    let mut wrong = of(&broker);
    wrong.login = login("wrong");
    let error = refusal(&wrong).await;
    assert!(matches!(error, UpstreamError::NotAuthorised(_)), "{error}");
    assert!(!error.to_string().contains("wrong"), "{error}");
    let error = refusal(&settings(broker.port(), "nowhere")).await;
    assert!(matches!(error, UpstreamError::Rejected(_)), "{error}");
    assert!(
        error.to_string().contains("vhost nowhere not found"),
        "{error}"
    );
    broker.eval(&format!(
        r#"rabbit_auth_backend_internal:set_permissions(
            <<"guest">>, <<"{}">>, <<"">>, <<"">>, <<"">>, <<"test">>)."#,
        broker.vhost()
    ));
    let mut connection = Connection::open(&of(&broker), 0).await.unwrap();
    connection.submit(message(1, "q")).unwrap();
    let (token, answer) = answer(&mut connection).await;
    assert!(
        token == 1 && matches!(&answer, Answer::Stop(_)),
        "{answer:?}"
    );
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn tls_with_a_client_certificate() {
    let broker = RabbitMq::shared();
    let certs = Certs::new();
    let port = broker.listen_tls(&certs, &certs.server());
    broker.client().await.queue("q").await;
    let gateway = certs.client("gateway");
    let with = |ca, identity| {
        let mut settings = settings(port, broker.vhost());
        settings.endpoints[0].tls = Some(TlsSettings {
            ca: Some(ca),
            identity,
        });
        settings
    };
    let own = with(
        certs.ca(),
        Some((gateway.cert.clone(), gateway.key.clone())),
    );
    let mut connection = Connection::open(&own, 0).await.unwrap();
    connection.submit(message(1, "q")).unwrap();
    assert_eq!(answer(&mut connection).await, (1, Answer::Confirmed));
    connection.close().await;
    let error = refusal(&with(certs.ca(), None)).await;
    assert!(matches!(error, UpstreamError::Tls(_)), "{error}");
    let stranger = Certs::new().ca();
    let error = refusal(&with(stranger, None)).await;
    assert!(matches!(error, UpstreamError::Tls(_)), "{error}");
    let expired = broker.listen_tls(&certs, &certs.expired_server());
    let mut late = own.clone();
    late.endpoints[0].port = expired;
    let error = refusal(&late).await;
    assert!(error.to_string().contains("expired"), "{error}");
}

#[tokio::test]
#[ignore = "needs rabbitmq"]
async fn a_certificate_says_who_we_are_where_that_is_wanted() {
    let broker = RabbitMq::own();
    let certs = Certs::new();
    let port = broker.listen_tls(&certs, &certs.server());
    broker.add_user("hall-2");
    broker.client().await.queue("q").await;
    let as_client = |Identity { cert, key }: Identity| {
        let mut settings = AmqpSettings {
            external: true,
            ..settings(port, broker.vhost())
        };
        settings.endpoints[0].tls = Some(TlsSettings {
            ca: Some(certs.ca()),
            identity: Some((cert, key)),
        });
        settings
    };
    let known = as_client(certs.client("hall-2"));
    let mut connection = Connection::open(&known, 0).await.unwrap();
    connection.submit(message(1, "q")).unwrap();
    assert_eq!(answer(&mut connection).await, (1, Answer::Confirmed));
    let users = "[binary_to_list(User) || [{user, User}] <- rabbit_networking:connection_info_all([user])].";
    let users = broker.eval(users);
    assert!(users.contains("hall-2"), "{users}");
    connection.close().await;

    // The broker trusts the certificate, but has no such user.
    let error = refusal(&as_client(certs.client("hall-3"))).await;
    assert!(matches!(error, UpstreamError::NotAuthorised(_)), "{error}");
    assert_eq!(error.verdict(), Verdict::Stop);
}
