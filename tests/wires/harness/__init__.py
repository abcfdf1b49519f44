"""The real wires: servers that nobody here wrote, on loopback, for the tests of the ekskit binary.

place          where things are: cache, work folder, free ports
process        one server program: started, awaited, stopped by its pid
pki            the certificates of the control plane
kube           a small client of the Kubernetes API, for the harness itself
control_plane  etcd, kube-apiserver, kube-controller-manager, kube-scheduler, kwok
moto           the moto server and what it is born with
aws_request    what an AWS request is: service, action, caller, mutating or not
faults         answers that a test orders: hold, throttle, deny, expire
front          the program before moto: forwards, records, fills in
eks, eks_*, ssm what the front answers for EKS and SSM
gaps           small things that moto does not do as AWS does
housekeeping   what EC2 does about things that depend on one another
account        what EKS makes in the customer's account
bootstrap      what EKS puts into a new cluster
webhook        checks ekskit's tokens as the authenticator of EKS would
access         how an identity maps: aws-auth and access entries
instances      plays the instances: a Node appears only for one that could join
trouble        set-ups that a test breaks
proxy          an HTTP CONNECT proxy
world          all of it, up and down
ekskit         the product
judge          other people's clients: AWS CLI, kubectl, boto3
"""
